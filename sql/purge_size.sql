-- How big a table is, before and after. $1 its oid. One row: bytes of the table with its TOAST, and dead tuples as the
-- statistics have it (a second or so behind), both with its partitions; main fork in blocks (a partitioned table has none).
SELECT coalesce(pg_catalog.sum(pg_catalog.pg_table_size(t.oid)), 0)::bigint,
       coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_dead_tuples(t.oid)), 0)::bigint,
       coalesce(pg_catalog.pg_relation_size($1::oid::regclass) / pg_catalog.current_setting('block_size')::bigint, 0)
  FROM (SELECT $1::oid AS oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1::oid) p) AS t
