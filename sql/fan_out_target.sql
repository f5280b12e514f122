-- The job that a fan-out submits to, and who may.
-- $1 its name, $2 run id. One row, or none if the run no longer holds its job: id is NULL if there is no such job;
-- pending counts its one-offs that are not done; editor_may says whether whoever edited the fan-out last may submit.
SELECT p.id, p.inputs, p.schedule ~* '^\s*manual\s*$' AS manual, p.parent_id IS NOT NULL AS is_one_off, p.invalid_reason,
       s.id AS source, pg_catalog.quote_ident(s.edited_by) AS editor,
       (SELECT count(*) FROM sexton.job o WHERE o.parent_id = p.id) AS pending,
       coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regrole(pg_catalog.quote_ident(s.edited_by)),
         'sexton.submit(text, jsonb, timestamptz, text)', 'EXECUTE'), false) AS editor_may
  FROM sexton.job s
  LEFT JOIN sexton.job p ON p.name = $1
 WHERE s.run_id = $2
