-- Removes finished runs of a job beyond what it keeps, at most 200. $1 job id. One row: how many.
SELECT sexton.prune($1)
