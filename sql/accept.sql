-- Notes that a revision is valid. $1 job id, $2 revision, $3 what it needs of a replica. One row. Locks: the job's row.
SELECT sexton.accept($1, $2, $3)
