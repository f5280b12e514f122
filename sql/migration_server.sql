-- Where and as whom we migrate.
-- $1 the role that is to own the schema, $2 the schema. One row: server_version_num, whether it is a standby, the lock_timeout in
-- force, the session's role, whether it may create roles, whether the owner's role exists, whether the session's role may
-- act as it, who owns the schema (NULL: it is not there), whether the session's role may act as that one. Before
-- version 16 every member may.
SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('lock_timeout'), r.rolname::text, r.rolsuper OR r.rolcreaterole,
       o.oid IS NOT NULL, coalesce(pg_catalog.pg_has_role(r.oid, o.oid, v."right"), false),
       pg_catalog.pg_get_userbyid(n.nspowner)::text, pg_catalog.pg_has_role(r.oid, n.nspowner, v."right")
  FROM pg_catalog.pg_roles r
 CROSS JOIN (SELECT CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000 THEN 'SET'
                         ELSE 'MEMBER' END) v ("right")
  LEFT JOIN pg_catalog.pg_roles o ON o.rolname = $1
  LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $2
 WHERE r.rolname = session_user
