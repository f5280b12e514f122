-- How the last real runs of a run's job went, the latest first, at most ten. $1 run id. A row for each that succeeded and
-- has batches to tell of: its report, how long it took (seconds), and whether it was of this revision. No locks.
SELECT r.report, extract(epoch FROM r.finished_at - r.started_at)::float8 AS took_s, r.revision = me.revision AS same
  FROM sexton.run me
  JOIN sexton.run r ON r.job_id = me.job_id AND r.id <> me.id AND r.state = 'succeeded' AND r.mode = 'real'
                   AND r.report ? 'batches'
 WHERE me.id = $1
 ORDER BY r.epoch DESC, r.version DESC
 LIMIT 10
