-- Lets a destructive job delete. $1 its name, $2 rows that one run may delete past the guards, or NULL.
-- One row: what it did, in a sentence. Locks: the job's row.
SELECT sexton.arm($1, $2)
