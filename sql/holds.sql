-- The holds that concern a job. $1 its name. A row for each: id, table, predicate, reason, by whom, since when.
SELECT DISTINCT h.id, h.table_name, h.predicate, h.reason, h.held_by, h.held_at
  FROM sexton.job j
 CROSS JOIN LATERAL (SELECT j.target_oid UNION SELECT (e ->> 'oid')::oid FROM pg_catalog.jsonb_array_elements(j.targets) e) AS t(oid)
 CROSS JOIN LATERAL sexton.holds_on(t.oid) h
 WHERE j.name = $1 AND j.kind IN ('purge', 'references')
 ORDER BY h.id
