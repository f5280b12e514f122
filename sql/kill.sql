-- Takes a job from its holder. $1 its name. One row: the backend that held it. Locks: the job's row.
SELECT sexton.kill($1)
