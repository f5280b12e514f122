-- The foreign keys by which named children refer to a table, or to one another.
-- $1 oids of the children, $2 oids of the tables that they may refer to. A row for each: its oid, those of the child and
-- of the table that it refers to, and the columns of both, quoted and in the same order. What a constraint repeats for
-- partitions is left out.
SELECT c.oid AS "constraint", c.conrelid AS child, c.confrelid AS parent,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS f(attnum, ord)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = f.attnum
              ORDER BY f.ord) AS theirs,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS f(attnum, ord)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = f.attnum
              ORDER BY f.ord) AS ours
  FROM pg_catalog.pg_constraint c
 WHERE c.contype = 'f' AND c.conrelid = ANY ($1::oid[]) AND c.confrelid = ANY ($2::oid[])
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p
                    WHERE p.oid = c.conparentid AND p.conrelid = c.conrelid AND p.confrelid = ANY ($2::oid[]))
 ORDER BY c.conrelid::regclass::text, c.conname
