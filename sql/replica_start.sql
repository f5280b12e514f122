-- Registers a replica, takes its lock on this session, and makes jobs "at start" and "at deploy" due.
-- $1 replica id, $2 name, $3 program, $4 slots, $5 kinds, $6 deployment or NULL,
-- $7 the names that it knows locally.
-- One row: lock class, lock id, whether the lock was taken, whether no other replica was alive. Locks: meta's row.
SELECT lock_class, lock_id, locked, alone FROM sexton.replica_start($1, $2, $3, $4, $5, $6, $7)
