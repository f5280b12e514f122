-- Halts everything destructive. $1 why or NULL. One row: what it did, in a sentence. Locks: meta, running jobs' rows.
SELECT sexton.pause_all($1)
