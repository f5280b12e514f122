-- Foreign keys that the server looks up for each deleted row: those that reference the table, and, where these cascade,
-- those that reference the child in turn.
-- $1 oid of the table. A row for each: its oid, the child (schema-qualified, quoted), its oid, the constraint, what happens to
-- children (a no action, r restrict, c cascade, n set null, d set default), whether a usable index leads with the
-- columns, and the columns (quoted) for the index that is missing.
WITH RECURSIVE reached(oid) AS (
  SELECT $1::oid
  UNION
  SELECT c.conrelid FROM reached r
    JOIN pg_catalog.pg_constraint c ON c.confrelid = r.oid AND c.contype = 'f' AND c.confdeltype = 'c'
)
SELECT c.oid AS "constraint", pg_catalog.format('%I.%I', n.nspname, k.relname) AS child, k.oid AS child_oid, c.conname::text AS name,
       c.confdeltype::text AS action,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index i
                WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indisready AND i.indpred IS NULL
                  AND (SELECT pg_catalog.array_agg(a.attnum ORDER BY a.attnum)
                         FROM pg_catalog.unnest((i.indkey::int2[])[0:cardinality(c.conkey) - 1]) AS a(attnum))
                    = (SELECT pg_catalog.array_agg(a.attnum ORDER BY a.attnum)
                         FROM pg_catalog.unnest(c.conkey) AS a(attnum))) AS indexed,
       (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.ord)
          FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(attnum, ord)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum) AS columns
  FROM reached r
  JOIN pg_catalog.pg_constraint c ON c.confrelid = r.oid AND c.contype = 'f' AND c.conparentid = 0
  JOIN pg_catalog.pg_class k ON k.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace
 ORDER BY 1, 3
