-- The holds that concern a job. $1 its name. A row for each: id, database, table, predicate, reason, by whom, since when.
-- Of another database that it works in, all: which tables they concern, only that database could tell.
SELECT h.id, NULL::text AS database, h.table_name, h.predicate, h.reason, h.held_by, h.held_at
  FROM sexton.job j
 CROSS JOIN LATERAL (SELECT j.target_oid UNION SELECT (e ->> 'oid')::oid FROM pg_catalog.jsonb_array_elements(j.targets) e) AS t(oid)
 CROSS JOIN LATERAL sexton.holds_on(t.oid) h
 WHERE j.name = $1 AND j.kind IN ('purge', 'references')
 UNION
SELECT h.id, h.database, h.table_name, h.predicate, h.reason, h.held_by, h.held_at
  FROM sexton.job j
  JOIN sexton.hold h ON h.lifted_at IS NULL AND (h.database = j.database OR EXISTS (
         SELECT FROM pg_catalog.jsonb_path_query(j.params, 'lax $.targets[*]') e WHERE e ->> 'database' = h.database))
 WHERE j.name = $1 AND j.kind = 'purge'
 ORDER BY 1
