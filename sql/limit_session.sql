-- How long a statement of this session may take, and wait for locks, until reset_session.sql.
-- $1 and $2 milliseconds, 0 for no limit. No rows that matter.
SELECT pg_catalog.set_config('statement_timeout', $1, false), pg_catalog.set_config('lock_timeout', $2, false)
