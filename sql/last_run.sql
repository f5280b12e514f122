-- The last run of a job. $1 job name.
-- One row, or none: run id, state, mode, attempt, batches, rows, report, error.
SELECT r.id, r.state, r.mode, r.attempt, r.batches, r.rows_done, r.report, r.error
  FROM sexton.runs r WHERE r.job = $1 ORDER BY r.epoch DESC, r.version DESC LIMIT 1
