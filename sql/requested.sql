-- What has become of a job that was asked to run now. $1 its name. One row, or none if the job is gone. No locks.
SELECT state, occurrence, origin, due_at, attempt, rerun IS NOT NULL AS once_more, run_id,
       paused_at IS NOT NULL AND (paused_until IS NULL OR paused_until > pg_catalog.clock_timestamp()) AS paused,
       pg_catalog.clock_timestamp() AS now
  FROM sexton.job
 WHERE name = $1
