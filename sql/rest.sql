-- Between two slices of a batch: the server rests without waking anybody. $1: seconds.
SELECT pg_catalog.pg_sleep($1)
