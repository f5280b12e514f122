-- Stores which resources a run holds. $1 run id, $2 array of names. No rows that matter.
SELECT sexton.note_resources($1, $2)
