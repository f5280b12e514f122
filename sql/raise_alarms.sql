-- Notices jobs that are overdue, or whose lock a stranger holds. No parameters. One row: how many are new.
SELECT sexton.raise_alarms()
