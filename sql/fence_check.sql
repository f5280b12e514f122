-- The last statement of a batch in another database; COMMIT follows in the same flight.
-- $1 installation, $2 job id, $3 epoch, $4 version, $5 run id, $6 batches committed before, $7 rows, $8 cursor.
-- One row of nothing; raises SX001 (another token is there) or SX004 (the batch was committed before). Locks: the job's row
-- of the fence.
SELECT sexton_fence.check($1, $2, $3, $4, $5, $6, $7, $8)
