-- Whether the database has runs that may know of receipts, and they may be read. One row. No parameters, no locks.
-- By the catalog, since to_regclass fails without USAGE on the schema.
SELECT coalesce(pg_catalog.bool_or(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                                   AND pg_catalog.has_table_privilege(c.oid, 'SELECT')), false)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'sexton' AND c.relname = 'run_part'
