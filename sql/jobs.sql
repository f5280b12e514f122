-- The jobs as people see them. $1 a name, or NULL for all. One row a job, by name, with the database's clock as "now".
-- No locks.
SELECT name, app, kind, state, armed, schedule, time_zone, next_due_at, next_due_local::text, last_outcome, last_mode,
       last_finished_at, last_rows, last_stopped, last_error, last_success_at,
       eligible, oldest_overdue, extract(epoch FROM overdue_by)::float8 AS overdue_by, arrival_per_day, drain_per_day, catches_up,
       failure_count, revision, version,
       edited_by, edited_at, removed_at, params, id, database, pg_catalog.clock_timestamp() AS now
  FROM sexton.jobs
 WHERE $1::text IS NULL OR name = $1
 ORDER BY name
