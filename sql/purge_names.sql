-- A table and some of its columns, as the server quotes them. $1 the table, $2 names of columns.
-- One row, or none if there is no such table: its oid, its name, and the columns in the given order, NULL where there is
-- none of that name.
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS given(name, ord)
               LEFT JOIN pg_catalog.pg_attribute a
                 ON a.attrelid = c.oid AND a.attname = given.name AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY given.ord) AS columns
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = pg_catalog.to_regclass($1)
