-- What there is to do, for a replica: definitions to validate and plan, orphaned runs to recover, due jobs to run.
-- $1 kinds that the replica knows, $2 how many of each at the most, $3 the names that it knows locally.
-- Rows: need (plan | recover | run) and the job. No locks. Due jobs come by the index on due_at (4 buffers a scan
-- from 100 to 1,000,000 jobs, measured on the prototype); now() and not clock_timestamp(), since a volatile bound
-- could not use it. Jobs that wait for a resource which is held come when it is free. One-offs come with their turn, so
-- that none starves another, nor the jobs. The caller shuffles: eight replicas that all try the first due job lose 93 % of their tries.
WITH found AS (
  (SELECT 'plan' AS need, j.id, 0::bigint AS turn FROM sexton.job j
    WHERE (NOT j.planned OR j.validated_revision IS DISTINCT FROM j.revision) AND j.invalid_reason IS NULL
      AND j.kind = ANY ($1) AND j.parent_id IS NULL ORDER BY j.id LIMIT $2)
  UNION ALL
  (SELECT 'recover', o.id, 0 FROM sexton.orphan o JOIN sexton.job j ON j.id = o.id
    WHERE o.kind = ANY ($1) AND (j.needs = '{}' OR sexton.lacks(j.needs, $3) = '{}') LIMIT $2)
  UNION ALL
  (SELECT 'run', j.id, 0 FROM sexton.job j
    WHERE j.due_at <= pg_catalog.now() AND j.state = 'idle' AND j.parent_id IS NULL AND j.invalid_reason IS NULL
      AND j.validated_revision = j.revision AND j.kind = ANY ($1)
      AND (j.needs = '{}' OR sexton.lacks(j.needs, $3) = '{}')
      AND (j.paused_at IS NULL OR j.paused_until <= pg_catalog.now())
      AND j.id NOT IN (SELECT b.job_id FROM sexton.blocked b)
    ORDER BY j.due_at LIMIT $2)
  UNION ALL
  (SELECT 'run', o.id, o.turn FROM sexton.next_one_offs($1, $2, $3) o ORDER BY o.turn LIMIT $2))
SELECT f.need, f.turn, j.id, j.name, j.kind, j.params, j.lock_id, j.version, j.revision, j.parent_id,
       j.schedule, j.time_zone, j.missed, extract(epoch FROM j.max_lateness)::float8 AS max_lateness,
       extract(epoch FROM j.jitter)::float8 AS jitter, extract(epoch FROM j.timeout)::float8 AS timeout,
       j.planned, j.plan_from, j.last_scheduled_at, j.occurrence, j.origin, j.priority,
       -- A run that was killed or released gave its attempt back, and what it began is to be finished all the same.
       j.attempt > 0 OR EXISTS (SELECT FROM sexton.run r WHERE r.job_id = j.id AND r.occurrence = j.occurrence) AS begun,
       j.search_path, j.target_name, j.target_oid, j.run_options, j.inputs, j.run_as, j.database,
       j.armed_revision IS NOT DISTINCT FROM j.revision AS armed
  FROM found f JOIN sexton.job j ON j.id = f.id
