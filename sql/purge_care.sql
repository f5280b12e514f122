-- What a purge may vacuum: the table, or the leaves of a partitioned one. $1 its oid. A row for each that has storage: oid,
-- quoted name, dead and live tuples as the statistics have them, tuples as of the last VACUUM or ANALYZE, and how many dead
-- ones autovacuum would come for (PostgreSQL's manual, "The Autovacuum Daemon": threshold + scale factor * tuples, the table's own settings first; from
-- PostgreSQL 18 on at most autovacuum_vacuum_max_threshold), and whether purge_flush.sql does anything. No locks.
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) AS dead,
       coalesce(pg_catalog.pg_stat_get_live_tuples(c.oid), 0) AS live,
       greatest(c.reltuples, 0)::bigint AS tuples,
       least(o.threshold + o.scale * greatest(c.reltuples::float8, 0), CASE WHEN o.most >= 0 THEN o.most END) AS threshold,
       pg_catalog.to_regprocedure('pg_catalog.pg_stat_force_next_flush()') IS NOT NULL AS flushes
  FROM (SELECT $1::oid AS oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1) p) AS t
  JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'r'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
    SELECT coalesce(max(s.option_value::float8) FILTER (WHERE s.option_name = 'autovacuum_vacuum_threshold'),
                    pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8) AS threshold,
           coalesce(max(s.option_value::float8) FILTER (WHERE s.option_name = 'autovacuum_vacuum_scale_factor'),
                    pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8) AS scale,
           coalesce(max(s.option_value::float8) FILTER (WHERE s.option_name = 'autovacuum_vacuum_max_threshold'),
                    pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true)::float8) AS most
      FROM pg_catalog.pg_options_to_table(c.reloptions) s) AS o
 ORDER BY n.nspname, c.relname
