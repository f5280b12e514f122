-- How many replicas are at work. No parameters. One row.
SELECT count(*) FROM sexton.replicas WHERE alive
