-- How many one-offs of a job, submitted by this one, are not done. $1 the job, $2 who submitted. One row. No locks.
SELECT count(*) FROM sexton.job o WHERE o.parent_id = $1 AND o.source_id = $2
