-- What holds for the installation as a whole; needs SELECT rights alone.
-- One row: install id, lock class, name of the database, oldest program level that may run, level of the schema.
SELECT m.install_id, m.lock_class, m.identity, m.min_level,
       (SELECT pg_catalog.max(h.version) FROM sexton.schema_history h)
  FROM sexton.meta m
