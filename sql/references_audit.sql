-- The application's own table of changes, as this session's search_path finds it. $1 its name, $2 names of columns, $3 run id.
-- One row a column, in that order: oid NULL where there is no such table, type NULL where it has no such column; may and
-- editor_may say whether this role, and whoever edited the job last, may write it.
SELECT c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name, c.relkind::text AS kind,
       n.nspname IN ('sexton', 'pg_catalog', 'information_schema', 'pg_toast') AS protected,
       pg_catalog.quote_ident(w.name) AS "column",
       -- Without the length: an explicit cast to it would cut a value silently.
       pg_catalog.format_type(a.atttypid, -1) AS type,
       pg_catalog.quote_ident(current_user) AS role,
       pg_catalog.has_column_privilege(c.oid, a.attnum, 'INSERT') AS may,
       pg_catalog.quote_ident(j.edited_by) AS editor,
       coalesce(pg_catalog.has_column_privilege(pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by)), c.oid, a.attnum, 'INSERT'), false)
         AS editor_may
  FROM pg_catalog.unnest($2::text[]) WITH ORDINALITY AS w(name, ord)
  JOIN sexton.job j ON j.run_id = $3
  LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass($1)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY w.ord
