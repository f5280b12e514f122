-- One run of a manual job, in the present transaction.
-- $1 the job's name, $2 inputs, $3 when it is due or NULL, $4 key or NULL. One row: a sentence. Locks: the job against
-- deletion; with a key, the one-off that is pending with it.
SELECT sexton.submit($1, $2, $3, $4)
