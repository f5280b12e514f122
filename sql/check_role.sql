-- What the present role may do with the schema, and what its owner may. No parameters; one row; no locks.
-- Last: whether the owner of terminate_holder() may end sessions of this role.
SELECT current_user::text AS role, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
       pg_catalog.to_regrole('sexton_owner') IS NOT NULL AS has_roles,
       pg_catalog.has_function_privilege(p.claim, 'EXECUTE') AS may_run,
       pg_catalog.has_function_privilege('sexton.pause(text, text, timestamptz)', 'EXECUTE') AS may_operate,
       pg_catalog.has_column_privilege('sexton.job', 'params', 'UPDATE') AS may_author,
       o.rolsuper OR pg_catalog.pg_has_role(o.oid, 'pg_signal_backend', 'USAGE')
         OR pg_catalog.pg_has_role(o.oid, current_user, 'USAGE') AS may_terminate
  FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_roles o ON o.oid = (SELECT f.proowner FROM pg_catalog.pg_proc f
         WHERE f.oid = 'sexton.terminate_holder(text)'::regprocedure)
  CROSS JOIN (SELECT f.oid AS claim FROM pg_catalog.pg_proc f
               WHERE f.pronamespace = 'sexton'::regnamespace AND f.proname = 'claim') p
 WHERE n.nspname = 'sexton'
