-- Notes the rows that a batch leaves for later, and forgets those that it is done with.
-- $1 run, $2 rows: a JSON array of {row_key, class, target, attempts, next_try, error}, $3 keys of rows that are done.
-- No rows that matter.
SELECT sexton.note_deferred($1, $2, $3)
