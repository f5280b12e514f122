-- Keeps rows of a table from every purge. $1 the table, $2 which rows, $3 why, $4 the other database that it is in, or NULL.
-- One row: what it did, in a sentence. Locks: meta, and the rows of running purges; waits for batches that are committing.
SELECT sexton.hold($1, $2, $3, $4)
