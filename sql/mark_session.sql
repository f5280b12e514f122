-- Leaves a mark on this session. $1 a token. One row: its backend, and the mark.
SELECT pg_catalog.pg_backend_pid(), pg_catalog.set_config('sexton.session', $1, false)
