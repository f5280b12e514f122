-- Sets how values are written until the end of the (sub)transaction, whatever the role's own settings are: as `restore`
-- reads them. No parameters, no rows that matter, no locks.
SELECT pg_catalog.set_config(forms.name, forms.setting, true)
  FROM (VALUES ('DateStyle', 'ISO'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), ('bytea_output', 'hex'),
               ('extra_float_digits', '1'), ('lc_monetary', 'C'), ('xmloption', 'content')) AS forms(name, setting)
