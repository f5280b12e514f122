-- The database's clock. No parameters; one row; no locks.
SELECT pg_catalog.clock_timestamp()
