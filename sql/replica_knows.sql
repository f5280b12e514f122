-- Says which names a replica knows now. $1 replica id, $2 names. One row. Locks: the replica's row.
SELECT sexton.replica_knows($1, $2)
