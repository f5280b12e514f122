-- What we are connected to. No parameters.
-- One row: server_version_num, whether it is a standby, whether the schema sexton is there.
SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),
       pg_catalog.to_regclass('sexton.meta') IS NOT NULL
