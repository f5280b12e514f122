-- What came of sending. $1 the delivery, $2 which attempt, $3 what went wrong or NULL. One row: what it is now.
SELECT sexton.note_delivery($1, $2, $3)
