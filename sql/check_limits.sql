-- How far the server is from its limits. No parameters; one row; no locks.
SELECT (SELECT count(*) FROM pg_catalog.pg_locks) AS locks,
       pg_catalog.current_setting('max_locks_per_transaction')::bigint
         * (pg_catalog.current_setting('max_connections')::bigint
            + pg_catalog.current_setting('max_prepared_transactions')::bigint) AS locks_max,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'client backend') AS connections,
       pg_catalog.current_setting('max_connections')::bigint
         - pg_catalog.current_setting('superuser_reserved_connections')::bigint AS connections_max
