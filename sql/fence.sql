-- The last statement of a batch of several statements; COMMIT follows in the same flight.
-- $1 job id, $2 version, $3 run id, $4 part, $5 batches committed before, $6 rows, $7 cursor.
-- One row of nothing; raises SX001 (fenced; DETAIL says why) or SX004 (a gap). Locks: the job's row FOR SHARE.
SELECT sexton.fence($1, $2, $3, $4, $5, $6, $7)
