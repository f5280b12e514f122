-- Foreign keys that keep a row from being deleted while another refers to it (no action, restrict).
-- $1 oid of the table. A row for each: its oid, its name, the child's oid, the child (schema-qualified, quoted), the child's columns, and ours that
-- they refer to, quoted and in the same order. What a constraint repeats for the partitions of a child is left out.
SELECT c.oid AS "constraint", c.conname::text AS name, k.oid AS child_oid, pg_catalog.format('%I.%I', n.nspname, k.relname) AS child,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS f(attnum, ord)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = f.attnum
              ORDER BY f.ord) AS theirs,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS f(attnum, ord)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = f.attnum
              ORDER BY f.ord) AS ours
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class k ON k.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
 WHERE c.confrelid = $1 AND c.contype = 'f' AND c.confdeltype IN ('a', 'r')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = c.conparentid AND p.confrelid = c.confrelid)
 ORDER BY 2, 1
