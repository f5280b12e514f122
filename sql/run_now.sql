-- An extra occurrence, due now. $1 job name, $2 options, $3 inputs.
-- One row: a sentence. Raises SX005 where the job is paused or invalid, SX006 for an unknown name. Locks: the job's row.
SELECT sexton.run_now($1, $2, $3)
