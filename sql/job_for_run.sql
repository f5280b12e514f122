-- What a finishing run needs to plan the next occurrence, read right before it does.
-- $1 job id. One row, or none if the job was deleted.
SELECT pg_catalog.clock_timestamp(), schedule, time_zone, missed, extract(epoch FROM max_lateness)::float8,
       extract(epoch FROM jitter)::float8, planned, scheduled_at, occurrence, origin,
       extract(epoch FROM backoff)::float8, extract(epoch FROM backoff_max)::float8,
       extract(epoch FROM resume_after)::float8, attempt
  FROM sexton.job WHERE id = $1
