-- Why a job runs, or does not. $1 its name. One row: a sentence or two. No locks.
SELECT sexton.why($1)
