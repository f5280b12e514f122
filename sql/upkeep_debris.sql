-- What failed CONCURRENTLY statements left behind: invalid indexes with the names that REINDEX CONCURRENTLY gives to its own.
-- $1 oids of tables. A row for each, in the order of their names; busy where another session holds the lock of such a
-- statement, or an autovacuum's, on the table, so that it may still be at work.
SELECT i.indexrelid AS oid, i.indrelid AS table_oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'relation' AND l.relation = i.indrelid AND l.mode = 'ShareUpdateExclusiveLock'
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                  AND l.pid <> pg_catalog.pg_backend_pid()) AS busy
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE i.indrelid = ANY ($1::oid[]) AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
 ORDER BY 3
