-- The tables that sets are restored into. $1 their names, qualified, $2 the schema to find them in instead, NULL for their own.
-- One row a name, in that order: oid NULL where there is no such table; key has the quoted columns of the primary key.
SELECT w.ord, w.wanted, c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name, c.relkind::text AS kind,
       n.nspname IN ('sexton', 'pg_catalog', 'information_schema', 'pg_toast') AS protected,
       (SELECT pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY k.ord)
          FROM pg_catalog.pg_index i
         CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, ord)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         WHERE i.indrelid = c.oid AND i.indisprimary) AS key
  FROM (SELECT u.ord, CASE WHEN $2::text IS NULL THEN u.name
                           ELSE pg_catalog.format('%I.%I', $2::text, (pg_catalog.parse_ident(u.name))[2]) END AS wanted
          FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS u(name, ord)) AS w
  LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(w.wanted)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY w.ord
