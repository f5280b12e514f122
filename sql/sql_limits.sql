-- How long the statement of a job may take, and wait for locks, in this transaction.
-- $1 and $2 milliseconds. No rows that matter.
SELECT pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('lock_timeout', $2, true)
