-- The advisory lock of a resource. $1 its name, created if new. One row: lock class, lock id.
SELECT m.lock_class, sexton.resource_lock($1) FROM sexton.meta m
