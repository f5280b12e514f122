-- Ends a pause. $1 the job's name. One row: what it did, in a sentence. Locks: the job's row.
SELECT sexton.resume($1)
