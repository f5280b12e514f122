-- Notes that a schedule or params are invalid: the job is not claimed until it is edited.
-- $1 job id, $2 revision, $3 schedule, $4 time zone, $5 reason. One row. Locks: the job's row.
SELECT sexton.reject($1, $2, $3, $4, $5)
