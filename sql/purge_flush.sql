-- Has this session's counts of deleted rows told to the statistics as soon as this statement is over, instead of up to a
-- minute later. No parameters, no rows. PostgreSQL 14 has no function for it, so there it does nothing.
DO $$ BEGIN
  IF pg_catalog.to_regprocedure('pg_catalog.pg_stat_force_next_flush()') IS NOT NULL THEN
    EXECUTE 'SELECT pg_catalog.pg_stat_force_next_flush()';
  END IF;
END $$
