-- What keeps vacuum from removing what purges delete. No parameters; one row; no locks.
-- The oldest transaction that holds vacuum back (seconds, who), then slots and prepared transactions that may.
SELECT pg_catalog.current_setting('autovacuum')::boolean AND pg_catalog.current_setting('track_counts')::boolean AS autovacuum,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS oldest,
       concat_ws(', ', 'backend ' || a.pid, a.usename, nullif(a.application_name, ''), a.state) AS oldest_who,
       ARRAY(SELECT s.slot_name::text FROM pg_catalog.pg_replication_slots s
              WHERE NOT s.active AND (s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL)) AS idle_slots,
       ARRAY(SELECT p.gid FROM pg_catalog.pg_prepared_xacts p
              WHERE p.prepared < pg_catalog.now() - interval '1 hour') AS prepared
  FROM (SELECT 1) AS one
  LEFT JOIN LATERAL (SELECT * FROM pg_catalog.pg_stat_activity s WHERE s.backend_xmin IS NOT NULL AND s.xact_start IS NOT NULL
                      AND s.pid <> pg_catalog.pg_backend_pid() ORDER BY s.xact_start LIMIT 1) a ON true
