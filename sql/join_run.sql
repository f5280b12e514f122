-- Makes this session a worker of a run: takes the job's worker key shared, then asks whether the run holds its job.
-- $1 job id, $2 version, $3 run id. One row: why the run must stop, NULL if it need not. Locks: the key, until the
-- session gives it back or ends. Never waits.
SELECT sexton.join_run($1, $2, $3)
