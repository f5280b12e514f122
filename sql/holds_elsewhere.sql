-- The holds in force on tables of another database. $1 the name that jobs give it. A row for each: id, table, predicate, reason.
SELECT h.id, h.table_name, h.predicate, h.reason
  FROM sexton.hold h
 WHERE h.lifted_at IS NULL AND h.database = $1
 ORDER BY h.id
