-- Whether the database has runs that may know of receipts, and they may be read. One row. No parameters, no locks.
SELECT coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regclass('sexton.run_part')::oid, 'SELECT'), false)
