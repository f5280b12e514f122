-- The columns of a table or view, in their order. $1 its oid.
-- identity is 'a' (always), 'd' (by default) or empty; scalar says whether JSON has a form of its own for the type.
SELECT a.attname::text AS name, pg_catalog.quote_ident(a.attname) AS quoted,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       a.attgenerated <> '' AS generated, a.attidentity::text AS identity,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS needed,
       a.atttypid = ANY (ARRAY['bool', 'int2', 'int4', 'int8', 'numeric', 'float4', 'float8']::pg_catalog.regtype[]) AS scalar,
       a.atttypid = 'pg_catalog.jsonb'::pg_catalog.regtype AS json
  FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
