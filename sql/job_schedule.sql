-- What the coming instants of a job are computed from. $1 its name. One row, or none if there is no such job. No locks.
SELECT m.install_id, pg_catalog.clock_timestamp() AS now, j.schedule, j.time_zone,
       extract(epoch FROM j.jitter)::float8 AS jitter, j.planned, j.scheduled_at, j.last_scheduled_at, j.origin, j.due_at, j.attempt,
       j.invalid_reason,
       j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > pg_catalog.clock_timestamp()) AS paused
  FROM sexton.job j, sexton.meta m
 WHERE j.name = $1
