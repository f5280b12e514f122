-- Takes notices that are due to be sent. $1 the replica, $2 the channels that it sends to (mail:@ stands for all addresses),
-- $3 how many at the most, $4 for how many seconds. Rows: a message each. Locks: their rows, those that others hold left out.
SELECT * FROM sexton.take_deliveries($1, $2, $3, pg_catalog.make_interval(secs => $4))
