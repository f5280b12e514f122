-- Records the last batch of a job that committed in another database, if it is not recorded yet.
-- $1 job id, $2 version and $3 run id of who holds the job; of the batch: $4 its run, $5 batches of that run until then,
-- $6 rows, $7 cursor.
-- One row: whether that run did the same as the present one (so that its cursor is good for it), and whether the batch is
-- news after which nothing else has committed. Raises SX001. Locks: the job's row FOR SHARE.
SELECT c.same, c.news FROM sexton.catch_up($1, $2, $3, $4, $5, $6, $7) c
