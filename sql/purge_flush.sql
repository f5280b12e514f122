-- Has this session's counts of deleted rows told to the statistics as soon as this statement is over, instead of up to a
-- minute later. No parameters, no rows that matter. The function exists from PostgreSQL 15 on.
SELECT pg_catalog.pg_stat_force_next_flush()::text
