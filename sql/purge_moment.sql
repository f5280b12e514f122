-- When and where a batch is archived: what its receipt says. No parameters, no locks.
-- One row: the instant of this transaction, the database's name, the server's version in its own words.
SELECT pg_catalog.now() AS archived_at, pg_catalog.current_database()::text AS database,
       pg_catalog.current_setting('server_version') AS server
