-- How the last real runs of a run's job went, the latest first, at most ten. $1 run id. A row for each that succeeded and
-- has batches to tell of: its report, how long it took (seconds), and whether it was of this revision. $2 which of its
-- targets, counted from 0, if it has several: then that one's line, of runs that did not succeed in all targets too. No locks.
SELECT told.report, extract(epoch FROM r.finished_at - r.started_at)::float8 AS took_s, r.revision = me.revision AS same
  FROM sexton.run me
  JOIN sexton.run r ON r.job_id = me.job_id AND r.id <> me.id AND (r.state = 'succeeded' OR $2::int IS NOT NULL) AND r.mode = 'real'
 CROSS JOIN LATERAL (SELECT CASE WHEN $2 IS NULL THEN r.report ELSE r.report -> 'targets' -> $2 END) AS told(report)
 WHERE me.id = $1 AND told.report ? 'batches' AND coalesce(told.report ->> 'outcome', 'succeeded') = 'succeeded'
 ORDER BY r.epoch DESC, r.version DESC
 LIMIT 10
