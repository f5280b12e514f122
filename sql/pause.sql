-- Pauses a job. $1 its name, $2 why or NULL, $3 until when or NULL.
-- One row: what it did, in a sentence. Locks: the job's row; waits for a batch that is committing.
SELECT sexton.pause($1, $2, $3)
