-- What a backup says of where and when it was taken: the instant of this transaction, and the job's revision.
-- $1 run id. One row, or none if the run no longer holds its job. No locks.
SELECT pg_catalog.now() AS taken_at, pg_catalog.current_database()::text AS database,
       pg_catalog.current_setting('server_version') AS server, j.revision, pg_catalog.quote_ident(j.edited_by) AS editor
  FROM sexton.job j
 WHERE j.run_id = $1
