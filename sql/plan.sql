-- Stores the next regular instant of a job that has none planned, and that its revision is valid and what it needs.
-- $1 job id, $2 revision, $3 schedule, $4 time zone, $5 next regular instant or NULL, $6 its due time, $7 instants
-- that passed, $8 needs. One row: whether the row was still as read. Locks: the job's row.
SELECT sexton.plan($1, $2, $3, $4, $5, $6, $7, $8)
