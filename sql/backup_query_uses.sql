-- What a query reads, by the temporary view that was made of it. $1 the view's oid, $2 run id.
-- One row a table, view or function: editor_may says whether whoever edited the job last may use it.
SELECT pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) AS what, pg_catalog.quote_ident(j.edited_by) AS editor,
       coalesce(CASE WHEN d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                     THEN pg_catalog.has_table_privilege(e.role, d.refobjid, 'SELECT')
                          OR pg_catalog.has_any_column_privilege(e.role, d.refobjid, 'SELECT')
                     ELSE pg_catalog.has_function_privilege(e.role, d.refobjid, 'EXECUTE') END, false) AS editor_may
  FROM sexton.job j
 CROSS JOIN LATERAL (SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by)) AS role) AS e
  JOIN pg_catalog.pg_rewrite r ON r.ev_class = $1
  JOIN LATERAL (SELECT DISTINCT p.refclassid, p.refobjid FROM pg_catalog.pg_depend p
                 WHERE p.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND p.objid = r.oid
                   AND p.refclassid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass)
                   AND p.refobjid <> $1) AS d ON true
 WHERE j.run_id = $2
 ORDER BY 1
