-- The tables of a backup, as this session's search_path finds them. $1 their names, $2 run id.
-- One row a name, in that order (an empty one stands for a query): all but ord NULL where there is no such table; editor_may says whether whoever edited the
-- job last may read it, since a job has no more rights than its editor.
SELECT w.ord, c.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name, c.relkind::text AS kind,
       n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') AS catalog,
       c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid) AS parent,
       pg_catalog.quote_ident(current_user) AS role,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS may,
       pg_catalog.quote_ident(j.edited_by) AS editor,
       coalesce(pg_catalog.has_table_privilege(pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by)), c.oid, 'SELECT'), false)
         AS editor_may
  FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
  JOIN sexton.job j ON j.run_id = $2
  LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(nullif(w.name, ''))
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY w.ord
