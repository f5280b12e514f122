-- Gives a run parts for workers.
-- $1 job id, $2 version, $3 run id, $4 the cursors to begin at, as an array: part 1 gets the first.
-- One row of nothing; raises SX001 (fenced; DETAIL says why), SX002 (split already). Locks: the job's row FOR SHARE.
SELECT sexton.split($1, $2, $3, $4)
