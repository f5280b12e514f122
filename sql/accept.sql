-- Notes that a revision is valid. $1 job id, $2 revision. One row. Locks: the job's row.
SELECT sexton.accept($1, $2)
