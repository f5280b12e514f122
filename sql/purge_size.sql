-- How big a table is, before and after. $1 its oid. One row: bytes of the table with its TOAST, dead tuples as the
-- statistics have it (a second or so behind), main fork in blocks.
SELECT pg_catalog.pg_table_size($1::oid::regclass),
       coalesce(pg_catalog.pg_stat_get_dead_tuples($1::oid), 0),
       pg_catalog.pg_relation_size($1::oid::regclass) / pg_catalog.current_setting('block_size')::bigint
