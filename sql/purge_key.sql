-- What tells the rows of a table apart, and whether rows of one key are found quickly.
-- $1 oid of the table, $2 names of the key's columns. One row: the columns of the primary key (quoted; empty if there is
-- none), whether a usable index leads with the key's columns in any order, and whether the table is smaller than 1 MiB.
SELECT ARRAY(SELECT pg_catalog.quote_ident(a.attname)
               FROM pg_catalog.pg_index i
               CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE i.indrelid = $1 AND i.indisprimary AND k.ord <= i.indnkeyatts
              ORDER BY k.ord) AS primary_key,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index i
                WHERE i.indrelid = $1 AND i.indisvalid AND i.indisready AND i.indpred IS NULL
                  AND (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text)
                         FROM pg_catalog.unnest((i.indkey::int2[])[0:cardinality($2::text[]) - 1]) AS k(attnum)
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum)
                    = (SELECT pg_catalog.array_agg(given.name ORDER BY given.name)
                         FROM pg_catalog.unnest($2::text[]) AS given(name))) AS indexed,
       pg_catalog.pg_relation_size($1::oid::regclass) < 1048576 AND c.relkind = 'r' AS small
  FROM pg_catalog.pg_class c
 WHERE c.oid = $1
