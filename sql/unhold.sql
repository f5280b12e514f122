-- Lifts a hold. $1 its id. One row: what it did, in a sentence. Locks: the hold's row.
SELECT sexton.unhold($1)
