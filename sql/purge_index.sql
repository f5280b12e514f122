-- What the walk is chosen by, for one column of a table.
-- $1 oid of the table, $2 number of the column. One row: an index that gives the rows in the column's order (quoted
-- name, NULL if there is none); correlation of column and heap, and the share of its most frequent value, as of the last
-- ANALYZE (NULL if there was none). The view is asked by values, not by a join: it is a security barrier, and a join
-- would read the columns of all tables first (7 ms of an empty database's 400 relations).
SELECT (SELECT pg_catalog.format('%I.%I', n.nspname, k.relname)
          FROM pg_catalog.pg_index i
          JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid
          JOIN pg_catalog.pg_am m ON m.oid = k.relam AND m.amname = 'btree'
          JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
         WHERE i.indrelid = $1 AND i.indisvalid AND i.indisready AND i.indpred IS NULL AND i.indkey[0] = $2
         ORDER BY i.indnkeyatts, k.relname LIMIT 1) AS index,
       s.correlation::float8 AS correlation,
       (s.most_common_freqs)[1]::float8 AS commonest,
       s.n_distinct::float8 AS n_distinct
  FROM (SELECT 1) AS one
  LEFT JOIN (SELECT st.correlation, st.most_common_freqs, st.n_distinct
               FROM pg_catalog.pg_stats st
              WHERE st.schemaname = (SELECT n.nspname FROM pg_catalog.pg_class c
                                       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1)
                AND st.tablename = (SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = $1)
                AND st.attname = (SELECT a.attname FROM pg_catalog.pg_attribute a
                                   WHERE a.attrelid = $1 AND a.attnum = $2)
              ORDER BY st.inherited DESC LIMIT 1) AS s ON true
