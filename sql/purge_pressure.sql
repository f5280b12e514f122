-- What should have precedence over a gentle purge. $1 oids of the table and of those
-- whose rows go with its own.
-- One row: bytes of WAL that the slowest standby has not replayed (NULL where none is connected or the role may not
-- know), that the slowest replication slot retains, that the archiver is behind by (NULL if it never archived or is
-- off), whether the archiver's last try failed; whether a VACUUM, an ANALYZE or a CONCURRENTLY works on one of them or a
-- partition, and whether somebody waits for a lock on one. Waits for no lock.
WITH tables AS MATERIALIZED (
  SELECT given.oid FROM pg_catalog.unnest($1::oid[]) AS given (oid)
   UNION SELECT t.relid FROM pg_catalog.unnest($1::oid[]) AS given (oid), pg_catalog.pg_partition_tree(given.oid::regclass) AS t
), locks AS MATERIALIZED (
  SELECT l.granted, l.mode
    FROM pg_catalog.pg_locks l JOIN tables ON tables.oid = l.relation
   WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid()
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), archiver AS (
  SELECT a.last_failed_time > coalesce(a.last_archived_time, '-infinity') AS failing,
         CASE WHEN a.last_archived_wal ~ '^[0-9A-F]{24}$' THEN
           (('x' || pg_catalog.substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * 4294967296
            + (('x' || pg_catalog.substr(a.last_archived_wal, 17, 8))::bit(32)::bigint + 1)
              * pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))) END AS archived
    FROM pg_catalog.pg_stat_archiver a
   WHERE pg_catalog.current_setting('archive_mode') <> 'off'
)
SELECT (SELECT pg_catalog.max(now.lsn - r.replay_lsn) FROM pg_catalog.pg_stat_replication r)::float8 AS standby,
       (SELECT pg_catalog.max(now.lsn - s.restart_lsn) FROM pg_catalog.pg_replication_slots s)::float8 AS slot,
       (SELECT now.lsn - '0/0'::pg_lsn - archived FROM archiver)::float8 AS archiver,
       coalesce((SELECT failing FROM archiver), false) AS archiver_failing,
       EXISTS (SELECT 1 FROM locks WHERE granted AND mode = 'ShareUpdateExclusiveLock') AS vacuum,
       EXISTS (SELECT 1 FROM locks WHERE NOT granted) AS waiting
  FROM (SELECT pg_catalog.pg_current_wal_lsn() AS lsn) AS now
