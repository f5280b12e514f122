-- Indexes of tables, and how much of each is air. $1 oids of tables. A row for each that can be rebuilt CONCURRENTLY, in the
-- order of their names. bloat is an estimate for B-trees (share of the pages that the keys, by their average width and the
-- fill factor, would not need), 0 at the least, NULL where statistics are missing or it is of another kind: equal keys are
-- stored once, so it is too low where there are many.
SELECT i.indexrelid AS oid, i.indrelid AS table_oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.pg_relation_size(i.indexrelid) AS bytes,
       CASE WHEN m.amname = 'btree' AND c.reltuples >= 0 AND c.relpages > 1 AND w.known
            THEN greatest(0, 1 - (1 + pg_catalog.ceil(c.reltuples * (12 + pg_catalog.ceil(w.width / 8.0) * 8)
              / ((pg_catalog.current_setting('block_size')::float8 - 40)
                 * coalesce((SELECT o.option_value::float8 FROM pg_catalog.pg_options_to_table(c.reloptions) o
                              WHERE o.option_name = 'fillfactor'), 90) / 100))) / c.relpages) END::float8 AS bloat
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_am m ON m.oid = c.relam
  CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.sum(s.avg_width), 0)::float8 AS width,
           pg_catalog.count(s.avg_width) = pg_catalog.count(*) AS known
      FROM pg_catalog.pg_attribute a
      JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
      JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
      LEFT JOIN pg_catalog.pg_attribute ta ON ta.attrelid = t.oid AND ta.attnum = i.indkey[a.attnum - 1] AND ta.attnum > 0
      LEFT JOIN LATERAL (
        SELECT st.avg_width FROM pg_catalog.pg_stats st
         WHERE st.schemaname = tn.nspname AND NOT st.inherited
           AND (st.tablename, st.attname) = (CASE WHEN ta.attname IS NULL THEN c.relname ELSE t.relname END,
                                             coalesce(ta.attname, a.attname))) AS s ON true
     WHERE a.attrelid = i.indexrelid) AS w
 WHERE i.indrelid = ANY ($1::oid[]) AND NOT i.indisexclusion AND i.indisready
   AND c.relname !~ '_cc(new|old)[0-9]*$'
 ORDER BY 3
