-- Gives the worker key of a job back, so that the next claim need not wait for the end of this session.
-- $1 lock class, $2 lock id. One row: whether it was held.
SELECT pg_catalog.pg_advisory_unlock_shared($1, $2)
