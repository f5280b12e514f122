-- The names of the jobs, without their one-offs. No parameters. One row each, by name. No locks.
SELECT name FROM sexton.job WHERE parent_id IS NULL ORDER BY name
