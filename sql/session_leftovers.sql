-- Whether statements are prepared on this session still. No parameters; one row.
-- Those that we knew of are closed by then. Any other is the work of a run's own SQL, or of the client library, which
-- would not know that DISCARD ALL took it away.
SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements)
