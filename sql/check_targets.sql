-- The tables that purges work on, as the present role sees them. No parameters; one row a job and table, by name; no locks.
-- unindexed: foreign keys to the table without an index at the referencing side, each a scan for every row deleted.
SELECT j.name AS job, t.name AS target, c.oid IS NOT NULL AS present,
       c.relkind::text IN ('r', 'p') AS is_table,
       coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_table_privilege(c.oid, 'DELETE'), false) AS may_purge,
       coalesce(pg_catalog.row_security_active(c.oid), false) AS filtered,
       coalesce(c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
         SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), false)
       AND EXISTS (SELECT 1 FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname
                    WHERE p.pubdelete AND t.schemaname = n.nspname AND t.tablename = c.relname) AS unidentified,
       coalesce('autovacuum_enabled=false' = ANY (c.reloptions), false) AS unvacuumed,
       ARRAY(SELECT f.conrelid::regclass::text || '.' || f.conname FROM pg_catalog.pg_constraint f
              WHERE f.contype = 'f' AND f.confrelid = c.oid AND NOT EXISTS (
                SELECT 1 FROM pg_catalog.pg_index i
                 WHERE i.indrelid = f.conrelid AND i.indpred IS NULL AND i.indisvalid AND i.indkey[0] = ANY (f.conkey))
              ORDER BY 1) AS unindexed
  FROM sexton.job j
 CROSS JOIN LATERAL (
         SELECT coalesce(j.target_name, j.params ->> 'table'), j.target_oid WHERE j.targets IS NULL
         UNION SELECT e ->> 'name', (e ->> 'oid')::oid FROM pg_catalog.jsonb_array_elements(j.targets) e WHERE e ->> 'name' IS NOT NULL) AS t(name, oid)
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE j.kind = 'purge' AND j.parent_id IS NULL AND j.database IS NULL
 ORDER BY j.name, t.name
