-- Stores what a run says of itself on the way. $1 run id, $2 progress. No rows that matter; no fence: it is for people.
SELECT sexton.note_progress($1, $2)
