-- Removes old finished runs of a job, at most 200. $1 job id. One row: how many.
SELECT sexton.prune($1)
