-- The tables whose rows a DELETE would change through foreign keys that are not among the named ones.
-- $1 oids of the tables that rows are deleted from, $2 oids of the named foreign keys. A row for each: its oid.
WITH RECURSIVE kin(oid) AS (
  SELECT pg_catalog.unnest($1::oid[])
  UNION
  SELECT n.oid FROM kin k CROSS JOIN LATERAL (
    SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i WHERE i.inhrelid = k.oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = k.oid) n
), named(oid) AS (
  SELECT pg_catalog.unnest($2::oid[])
  UNION
  SELECT c.oid FROM named n JOIN pg_catalog.pg_constraint c ON c.conparentid = n.oid
), changed(oid) AS (
  SELECT c.conrelid FROM pg_catalog.pg_constraint c
   WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND c.confrelid IN (TABLE kin)
     AND c.oid NOT IN (TABLE named)
  UNION
  SELECT n.oid FROM changed k CROSS JOIN LATERAL (
    SELECT c.conrelid AS oid FROM pg_catalog.pg_constraint c
     WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') AND c.confrelid = k.oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = k.oid
    UNION ALL SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = k.oid) n
)
TABLE changed
