-- The migrations that this database has; needs SELECT rights alone.
-- No parameters. Rows in order: version, name, checksum, type of the version's column, oldest level that may run.
SELECT h.version::bigint, h.name::text, h.checksum::text, pg_catalog.pg_typeof(h.version)::text,
       (SELECT m.min_level FROM sexton.meta m)
  FROM sexton.schema_history h ORDER BY h.version
