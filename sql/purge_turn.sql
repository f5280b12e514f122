-- Which target of a run's job has the first turn, as its last real run of the same revision that told so found. $1 run id.
-- At most one row: its number, counted from 0.
SELECT (r.report ->> 'next_target')::bigint
  FROM sexton.run me
  JOIN sexton.run r ON r.job_id = me.job_id AND r.revision = me.revision AND r.id <> me.id AND r.mode = 'real'
                   AND r.report ? 'next_target'
 WHERE me.id = $1
 ORDER BY r.epoch DESC, r.version DESC
 LIMIT 1
