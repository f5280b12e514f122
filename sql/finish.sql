-- Ends a run: outcome, history and next occurrence in one transaction.
-- $1 job id, $2 version, $3 run id, $4 outcome, $5 error, $6 report, $7 seconds until a retry,
-- $8 schedule and $9 time zone that the plan was made from, $10 next regular instant, $11 its due time,
-- $12 regular instants that passed, $13 when to come back for the rest.
-- One row: when the job is due next. Raises SX001 if the run no longer holds the job. Locks: the job's row.
SELECT sexton.finish($1, $2, $3, $4, $5, $6, pg_catalog.make_interval(secs => $7), $8, $9, $10, $11, $12, $13)
