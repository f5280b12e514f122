-- Gives the lock of those who migrate back.
-- $1 key. One row: whether this session held it; if not, something in between switched servers under us.
SELECT pg_catalog.pg_advisory_unlock($1::bigint)
