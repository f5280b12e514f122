-- What runs now. $1 a job's name or NULL for all. One row a run, by name, with the database's clock as "now". No locks.
SELECT job, mode, holder, backend_pid, started_at, extract(epoch FROM duration)::float8 AS duration, attempt, batches,
       rows_done, rows_per_second, last_batch_at, progress, waits_for, stops_because, run_id, version, resources
  FROM sexton.running
 WHERE $1::text IS NULL OR job = $1
 ORDER BY job
