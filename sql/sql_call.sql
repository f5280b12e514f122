-- Executes the statement of a job. $1 its text, $2 the values of its inputs, $3 how many of its rows are kept, NULL if it
-- gives none, $4 how long one may be as text. One row: rows given or affected, and those that are kept.
SELECT counted, kept FROM pg_temp.sexton_statement($1, $2, $3, $4)
