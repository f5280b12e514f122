-- Tries to take the lock of those who apply a file, until the end of the transaction.
-- No parameters. One row: whether it was taken. Lock ids of jobs start at 1, so that 0 is free for this.
SELECT pg_catalog.pg_try_advisory_xact_lock((SELECT m.lock_class FROM sexton.meta m), 0)
