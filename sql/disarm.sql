-- Makes a job only report. $1 its name. One row: what it did, in a sentence. Locks: the job's row.
SELECT sexton.disarm($1)
