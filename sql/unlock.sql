-- Gives one advisory lock of this session back.
-- $1 lock class, $2 lock id. One row: whether it was held.
SELECT pg_catalog.pg_advisory_unlock($1, $2)
