-- Under which role the statement of a job runs, and who may have it so.
-- $1 run id. One row, or none if the run no longer holds its job: role is the role it runs as, NULL if run_as names none
-- that exists; runner the role of this session; editor_may says whether the job's last editor is a member of that role,
-- since a job has no more rights than its editor; may_temp whether the role may have temporary functions.
SELECT j.run_as, r.rolname::text AS role, current_user::text AS runner, j.edited_by AS editor,
       pg_catalog.quote_ident(r.rolname) AS quoted_role, pg_catalog.quote_ident(current_user) AS quoted_runner,
       pg_catalog.quote_ident(pg_catalog.current_database()) AS quoted_database,
       coalesce(pg_catalog.pg_has_role(pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by)), r.oid, 'MEMBER'), false)
         AS editor_may,
       coalesce(pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMPORARY'), false) AS may_temp
  FROM sexton.job j
  LEFT JOIN pg_catalog.pg_roles r ON r.rolname = coalesce(j.run_as, current_user)
 WHERE j.run_id = $1
