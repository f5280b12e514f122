-- What we are connected to; needs no rights in the schema. No parameters.
-- One row: server_version_num, whether it is a standby, the database's clock. No locks.
SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(), pg_catalog.clock_timestamp()
