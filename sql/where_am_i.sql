-- Looks for the mark. One row: the backend that answers, and the mark that it carries or NULL.
SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('sexton.session', true)
