-- The holds that concern a DELETE on a table. $1 its oid. A row for each: id, oid of the held table, how it is reached
-- (rows, partition, cascade), its name, predicate and reason.
SELECT h.id, h.held_oid, h.reach, h.table_name, h.predicate, h.reason FROM sexton.holds_on($1) h
