-- What runs now. $1 a job's name or NULL for all. One row a run, by name. No locks.
-- rows_before: what earlier attempts for the same occurrence did.
SELECT v.job, v.mode, v.holder, v.backend_pid, v.started_at, extract(epoch FROM v.duration)::float8 AS duration, v.attempt,
       v.batches, v.rows_done, v.rows_per_second, v.last_batch_at, v.progress, v.waits_for, v.stops_because, v.run_id,
       v.version, v.resources, b.rows_before
  FROM sexton.running v
  JOIN sexton.run r ON r.id = v.run_id
 CROSS JOIN LATERAL (SELECT coalesce(sum(e.rows_done), 0)::bigint AS rows_before FROM sexton.run e
                      WHERE e.job_id = r.job_id AND e.occurrence = r.occurrence AND e.revision = r.revision
                        AND e.mode = r.mode AND e.id <> r.id) b
 WHERE $1::text IS NULL OR v.job = $1
 ORDER BY v.job
