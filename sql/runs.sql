-- Runs, the latest first. $1 a job's name (then those of its one-offs too) or NULL for all, $2 a run's id or NULL, $3 how many at the most. No locks.
SELECT id, job, state, mode, origin, occurrence, started_at, finished_at,
       extract(epoch FROM duration)::float8 AS duration, extract(epoch FROM late_by)::float8 AS late_by, attempt,
       batches, rows_done, coalesced, stopped, error, report, holder, epoch, version, revision, params, options,
       inputs, program, job_id
  FROM sexton.runs
 WHERE ($1::text IS NULL OR job = $1 OR parent_id = (SELECT j.id FROM sexton.job j WHERE j.name = $1)) AND ($2::uuid IS NULL OR id = $2)
 ORDER BY started_at DESC, epoch DESC, version DESC
 LIMIT $3
