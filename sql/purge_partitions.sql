-- The partitions of a table that is partitioned by range of one column alone; no rows if it is not.
-- $1 oid of the table, $2 number of the column, $3 the schema that partitions move to, NULL if they are dropped, $4 oids of
-- the partitions that are looked at, without rows and bytes; NULL for all, with these.
-- A row for each partition: oid, quoted name, kind, whether it is the default one, whether somebody is detaching it,
-- whether the role owns it and its parent; its upper bound in the column of the age's type (exclusive; NULL if it has
-- none); rows as of the last ANALYZE, scaled by its present size (NULL if there was none); bytes with indexes; what
-- would not survive its going (a foreign key that names it, a view on it) or stands in its way in the schema $3; whether
-- a publication tells others of its deletes.
-- Sizes open a relation and its files, so each is asked for by oid, behind an OFFSET that the planner cannot pull up: joined
-- as a whole, in a small database it took the sizes of all relations first (5 ms for the catalog's 400, and a wait for
-- whoever had locked any table), and under the locks of each partition that goes.
-- Bounds are read as text, so DateStyle is set for this transaction; under any other than ISO none is read.
WITH style AS MATERIALIZED (SELECT pg_catalog.set_config('DateStyle', 'ISO, YMD', true) AS name)
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text AS kind,
       c.oid = p.partdefid AS is_default, i.inhdetachpending AS pending,
       pg_catalog.pg_has_role(c.relowner, 'USAGE') AND pg_catalog.pg_has_role(parent.relowner, 'USAGE') AS owned,
       CASE WHEN age.atttypid = 'pg_catalog.timestamptz'::regtype THEN bound.upper::timestamptz END AS upper_timestamptz,
       CASE WHEN age.atttypid = 'pg_catalog.timestamp'::regtype THEN bound.upper::timestamp END AS upper_timestamp,
       CASE WHEN age.atttypid = 'pg_catalog.date'::regtype THEN bound.upper::date END AS upper_date,
       CASE WHEN leaves.analyzed THEN leaves.rows END AS rows, leaves.bytes,
       (SELECT pg_catalog.min(pg_catalog.format('foreign key %I of %s references it', f.conname, f.conrelid::regclass))
          FROM pg_catalog.pg_constraint f
         WHERE f.contype = 'f' AND f.conparentid = 0 AND f.confrelid = ANY (leaves.oids)) AS referenced,
       (SELECT pg_catalog.min(pg_catalog.format('view %s reads it', r.ev_class::regclass))
          FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
         WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
           AND d.refobjid = ANY (leaves.oids) AND $3::text IS NULL) AS viewed,
       (SELECT pg_catalog.format('%I has a table of that name', s.nspname)
          FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace
         WHERE s.nspname = $3::text AND t.relname = c.relname) AS taken,
       EXISTS (SELECT 1 FROM pg_catalog.pg_publication_tables t
                 JOIN pg_catalog.pg_publication b ON b.pubname = t.pubname AND b.pubdelete
                WHERE (t.schemaname, t.tablename) IN ((n.nspname, c.relname), (above.nspname, parent.relname))) AS published
  FROM style
  JOIN pg_catalog.pg_partitioned_table p ON style.name IS NOT NULL
  JOIN pg_catalog.pg_class parent ON parent.oid = p.partrelid
  JOIN pg_catalog.pg_namespace above ON above.oid = parent.relnamespace
  JOIN pg_catalog.pg_attribute age ON age.attrelid = p.partrelid AND age.attnum = $2
  JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.current_setting('DateStyle') LIKE 'ISO%'
         THEN (pg_catalog.regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']*)''\)$'))[1]
       END AS upper) AS bound
 CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(l.oid) AS oids,
           pg_catalog.sum(CASE WHEN t.isleaf THEN l.bytes END)::bigint AS bytes,
           pg_catalog.bool_and(NOT t.isleaf OR l.reltuples >= 0 AND (l.relpages > 0 OR l.pages = 0)) AS analyzed,
           pg_catalog.sum(CASE WHEN t.isleaf AND l.relpages > 0
                               THEN l.reltuples::float8 / l.relpages * l.pages ELSE 0 END)::bigint AS rows
      FROM pg_catalog.pg_partition_tree(c.oid) t
     CROSS JOIN LATERAL (SELECT k.oid, k.reltuples, k.relpages,
                   CASE WHEN $4::oid[] IS NULL THEN pg_catalog.pg_total_relation_size(k.oid) END AS bytes,
                   CASE WHEN $4::oid[] IS NULL THEN pg_catalog.pg_relation_size(k.oid)
                        / pg_catalog.current_setting('block_size')::int END AS pages
              FROM pg_catalog.pg_class k WHERE k.oid = t.relid OFFSET 0) AS l
  ) AS leaves
 WHERE p.partrelid = $1 AND p.partstrat = 'r' AND p.partnatts = 1 AND p.partattrs[0] = $2
   AND ($4::oid[] IS NULL OR c.oid = ANY ($4))
 ORDER BY c.oid
