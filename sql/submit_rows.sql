-- Many one-offs of a manual job, in the present transaction.
-- $1 the job's name, $2 an array of {"key": …, "inputs": {…}}, $3 the id of the job that submits them.
-- One row: how many are new, how many were pending already. Locks: as submit.
SELECT submitted, pending FROM sexton.submit_rows($1, $2, $3)
