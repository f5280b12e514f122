-- Has VACUUM rest as an autovacuum does by default, until reset_session.sql. No parameters, no rows that matter.
SELECT pg_catalog.set_config('vacuum_cost_delay', '2ms', false)
