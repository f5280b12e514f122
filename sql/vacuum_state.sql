-- A table as maintenance finds it. $1 its oid. One row, or none if it is gone: its name, bytes with TOAST and indexes, dead
-- tuples as the statistics have it, whether an autovacuum works on it, and whether this role may clean it.
-- An autovacuum is told by its lock: what pg_stat_progress_vacuum says is hidden from ordinary roles, and its session has no
-- user. MAINTAIN exists from PostgreSQL 17 on.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.pg_total_relation_size(c.oid) AS bytes,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) AS dead,
       EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
                WHERE l.locktype = 'relation' AND l.relation = c.oid AND l.granted
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                  AND l.mode = 'ShareUpdateExclusiveLock' AND a.usesysid IS NULL) AS autovacuum,
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
         OR pg_catalog.pg_has_role((SELECT d.datdba FROM pg_catalog.pg_database d
                                     WHERE d.datname = pg_catalog.current_database()), 'USAGE')
         OR CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
                 THEN pg_catalog.has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS may
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = $1
