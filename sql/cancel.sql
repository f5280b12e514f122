-- Ends a job's present run as cancelled, or drops a pending retry. $1 its name.
-- One row: what it did, in a sentence. Locks: the job's row.
SELECT sexton.cancel($1)
