-- The demo's jobs, as an operator would write them in psql. All are born disarmed: they only report.
-- Sent as one batch; no parameters.
SELECT sexton.schedule('audit-log', 'daily 03:00 Europe/Paris', 'purge',
  '{"table": "audit_log", "by": "created_at", "retention": "300 days", "batch": 1000}');
SELECT sexton.schedule_purge('sessions', 'last_seen_at', '90 days', name => 'sessions');
SELECT sexton.schedule_purge('users', 'deleted_at', '30 days', name => 'deleted-users');
