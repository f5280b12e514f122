-- The jobs that a replica's runs hold, by sessions that are there.
-- $1 replica id. Rows: job id. No locks.
SELECT j.id
  FROM sexton.run r
  JOIN sexton.job j ON j.id = r.job_id AND j.run_id = r.id AND j.state = 'running'
 WHERE r.state = 'running' AND r.replica_id = $1 AND NOT EXISTS (SELECT FROM sexton.orphan o WHERE o.id = j.id)
