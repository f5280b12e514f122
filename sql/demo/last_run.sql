-- The last run of a job, and how far its occurrence is, all attempts together. $1 job name.
-- One row, or none: run id, occurrence, state, attempt, holder, rows of the occurrence, start, error, report.
SELECT r.id, r.occurrence, r.state, r.attempt, r.holder,
       (SELECT sum(s.rows_done)::bigint FROM sexton.runs s WHERE s.job = r.job AND s.occurrence = r.occurrence) AS rows,
       r.started_at, r.error, r.report
  FROM sexton.runs r WHERE r.job = $1 ORDER BY r.epoch DESC, r.version DESC LIMIT 1
