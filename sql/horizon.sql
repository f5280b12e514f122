-- How long a replica may sleep, and what holds it back.
-- $1 kinds that the replica knows, $2 jobs that it is at work on itself, $3 channels that it sends notices to.
-- One row: the database's clock, the next due time, notice to send or end of a pause to come, whether anything else runs (here, it may
-- be an orphan soon) or a job waits for a resource, whether everything destructive is halted, whether the database waits for adopt(). No locks.
SELECT pg_catalog.clock_timestamp(),
       LEAST(
         (SELECT j.due_at FROM sexton.job j
           WHERE j.due_at > pg_catalog.now() AND j.state = 'idle' AND j.invalid_reason IS NULL AND j.kind = ANY ($1)
             AND j.parent_id IS NULL
           ORDER BY j.due_at LIMIT 1),
         (SELECT j.due_at FROM sexton.job j
           WHERE j.due_at > pg_catalog.now() AND j.state = 'idle' AND j.invalid_reason IS NULL AND j.kind = ANY ($1)
             AND j.parent_id IS NOT NULL
           ORDER BY j.due_at LIMIT 1),
         (SELECT j.paused_until FROM sexton.job j
           WHERE j.paused_until > pg_catalog.now() AND j.state = 'idle' AND j.invalid_reason IS NULL AND j.kind = ANY ($1)
           ORDER BY j.paused_until LIMIT 1),
         sexton.deliveries_next($3)),
       EXISTS (SELECT 1 FROM sexton.run r WHERE r.state = 'running' AND r.job_id <> ALL ($2))
         OR EXISTS (SELECT 1 FROM sexton.waiting),
       m.halted_at IS NOT NULL, m.adopt_needed_at IS NOT NULL
  FROM sexton.meta m
