-- What holds for the installation as a whole. No parameters; one row; no locks.
-- readable: whether the owner of observe() may ask the server which cluster it is.
SELECT m.adopt_needed_at, m.halted_at, m.halted_by, m.halt_reason, m.identity, m.epoch,
       pg_catalog.has_function_privilege(f.proowner, 'pg_catalog.pg_control_system()', 'EXECUTE')
         AND pg_catalog.has_function_privilege(f.proowner, 'pg_catalog.pg_current_wal_lsn()', 'EXECUTE') AS readable,
       pg_catalog.clock_timestamp() AS now
  FROM sexton.meta m, pg_catalog.pg_proc f
 WHERE f.oid = 'sexton.observe()'::regprocedure
