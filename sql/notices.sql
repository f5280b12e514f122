-- Notices and what became of them, the latest first. $1 a job's name or NULL for all, $2 only what did not arrive, $3 how many.
-- No locks.
SELECT n.id, n.at, n.event, n.job, n.run_id, n.channel, n.state, n.attempt, n.held_back, n.due_at, n.ended_at, n.error,
       n.payload_version, n.payload
  FROM sexton.notices n
 WHERE ($1::text IS NULL OR n.job = $1) AND (NOT $2 OR n.error IS NOT NULL OR n.state IN ('failed', 'off'))
 ORDER BY n.id DESC, n.channel
 LIMIT $3
