-- Tries to take the lock of those who migrate, for this session.
-- $1 key. One row: whether it was taken. One key and not two, since sexton.meta, which holds our lock class, may not be
-- there yet. Never waits: a waiter in pg_advisory_lock() holds a snapshot, and CREATE INDEX CONCURRENTLY of the
-- migration that holds the lock would deadlock with it and leave an invalid index (seen).
SELECT pg_catalog.pg_try_advisory_lock($1::bigint)
