-- What each attempt recorded, against what the database saw deleted on its session. $1 job name, $2 occurrence.
-- A row for each attempt, in order: attempt, holder, outcome, batches and rows recorded, statements and rows seen.
SELECT r.attempt, r.holder, r.state, r.batches, r.rows_done, d.statements, d.rows
  FROM sexton.run r
  CROSS JOIN LATERAL (SELECT count(*) AS statements, coalesce(sum(d.rows), 0)::bigint AS rows
                        FROM demo.deletion d WHERE d.backend_pid = r.backend_pid) AS d
 WHERE r.job_name = $1 AND r.occurrence = $2
 ORDER BY r.epoch, r.version
