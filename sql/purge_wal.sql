-- Where the server's WAL stands, in bytes since its beginning. One row.
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), '0/0'::pg_catalog.pg_lsn)::bigint
