-- The names of the jobs. No parameters. One row each, by name. No locks.
SELECT name FROM sexton.job ORDER BY name
