-- Tries to take one advisory lock for this session.
-- $1 lock class, $2 lock id. One row: whether it was taken. Never waits: a waiter in pg_advisory_lock() would hold a
-- snapshot and deadlock with CREATE INDEX CONCURRENTLY. Never in a WHERE: the planner may take more locks than rows
-- come back (measured: LIMIT 5 with ORDER BY took 1,000).
SELECT pg_catalog.pg_try_advisory_lock($1, $2)
