-- The channels and how they do. No parameters; a row each; no locks.
-- overdue: something has waited for it for two minutes, and it is neither off nor failing: no replica sends to it.
SELECT c.channel, c.state, c.failures, c.off_at, c.retry_at, c.sent_at, c.error, c.waiting, c.since,
       c.state = 'on' AND coalesce(c.since < pg_catalog.now() - interval '2 minutes', false) AS overdue
  FROM sexton.channels c ORDER BY c.channel
