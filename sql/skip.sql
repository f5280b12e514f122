-- Passes over an occurrence that is too late.
-- $1 job id, $2 version, $3 schedule, $4 time zone, $5 next regular instant or NULL, $6 its due time, $7 instants
-- passed over. One row: whether the row was still as read. Locks: the job's row.
SELECT sexton.skip($1, $2, $3, $4, $5, $6, $7)
