-- All that decides whether a reset may touch a table.
-- $1 its oid, $2 its name as it was resolved when the job was saved, $3 run id, $4 names of the columns that are set,
-- $5 what may be the name of a further column.
-- One row, or none if the table is gone: columns and types are NULL where there is no such column; editor_may says whether
-- whoever edited the job last may make this update, since a job has no more rights than its editor.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.to_regclass($2)::oid IS NOT DISTINCT FROM c.oid AS same,
       c.relkind::text AS kind,
       n.nspname IN ('sexton', 'pg_catalog', 'information_schema', 'pg_toast') AS protected,
       pg_catalog.row_security_active(c.oid) AS row_security,
       pg_catalog.quote_ident(current_user) AS role,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
         AND coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, k.attnum, 'UPDATE')), true) AS may,
       pg_catalog.quote_ident(j.edited_by) AS editor,
       coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(
         pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by)), c.oid, k.attnum, 'UPDATE')), false) AS editor_may,
       pg_catalog.array_agg(pg_catalog.quote_ident(k.attname) ORDER BY k.ord) AS columns,
       -- Without the length: an explicit cast to it would cut a value silently.
       pg_catalog.array_agg(pg_catalog.format_type(k.atttypid, -1) ORDER BY k.ord) AS types,
       (SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attname = $5 AND a.attnum > 0 AND NOT a.attisdropped) AS "column"
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN sexton.job j ON j.run_id = $3
  LEFT JOIN LATERAL (
    SELECT w.ord, a.attname, a.attnum, a.atttypid
      FROM pg_catalog.unnest($4::text[]) WITH ORDINALITY AS w(name, ord)
      LEFT JOIN pg_catalog.pg_attribute a
        ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped) AS k ON true
 WHERE c.oid = $1
 GROUP BY c.oid, n.nspname, c.relname, c.relkind, j.edited_by
