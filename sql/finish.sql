-- Ends a run: outcome, history and next occurrence in one transaction.
-- $1 job id, $2 version, $3 run id, $4 outcome, $5 error, $6 report, $7 batches that the caller knows to be committed,
-- $8 seconds until a retry, $9 schedule (NULL: there is no plan) and $10 time zone that the plan was made from, $11 next regular instant,
-- $12 its due time, $13 regular instants that passed, $14 when to come back for the rest.
-- One row: when the job is due next. Raises SX001 if the run no longer holds the job, SX004 if it succeeded and the
-- batches are not those. Locks: the job's row.
SELECT sexton.finish($1, $2, $3, $4, $5, $6, $7, pg_catalog.make_interval(secs => $8), $9, $10, $11, $12, $13, $14)
