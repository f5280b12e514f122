-- Whether jobs of another database could work in this one, as the present role. No parameters; one row; no locks.
-- there: the fence's functions, with the signatures that the program sends. may: this role may call them.
SELECT current_user::text AS login, pg_catalog.pg_is_in_recovery() AS standby,
       pg_catalog.count(*) = 2 AS there,
       coalesce(pg_catalog.bool_and(pg_catalog.has_schema_privilege(p.pronamespace, 'USAGE')
                                    AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), false) AS may
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'sexton_fence'
   AND (p.proname::text, pg_catalog.oidvectortypes(p.proargtypes)) IN (
         ('install', 'uuid, bigint, text, bigint, bigint, uuid'),
         ('check', 'uuid, bigint, bigint, bigint, uuid, bigint, bigint, jsonb'))
