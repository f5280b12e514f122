-- The tables that a DELETE on one concerns, as sexton.holds_on() has them: for another database, which has no such function.
-- $1 its oid. A row for each: oid, name, and how it is reached (rows, partition, cascade). No locks.
WITH RECURSIVE above(oid) AS (
  SELECT $1::oid UNION SELECT i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid
), below(oid) AS (
  SELECT $1::oid UNION SELECT i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid
), changed(oid) AS (
  SELECT c.conrelid FROM pg_catalog.pg_constraint c
   WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND (c.confrelid IN (TABLE above) OR c.confrelid IN (TABLE below))
  UNION
  SELECT n.oid FROM changed k CROSS JOIN LATERAL (
    SELECT c.conrelid AS oid FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND c.confrelid = k.oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = k.oid
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = k.oid) n
), reached(oid, reach) AS (
  SELECT oid, 'rows' FROM above
  UNION ALL SELECT oid, 'partition' FROM below WHERE oid <> $1::oid
  UNION ALL SELECT oid, 'cascade' FROM changed
)
SELECT t.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, t.reach
  FROM reached t
  JOIN pg_catalog.pg_class c ON c.oid = t.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY t.reach, t.oid
