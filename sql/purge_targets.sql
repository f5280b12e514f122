-- The tables of a run's job that has several targets, as they were resolved when it was saved. $1 run id. A row for each,
-- in their order: its name and oid, NULL where there is no such table.
SELECT t.entry ->> 'name' AS name, (t.entry ->> 'oid')::oid AS oid
  FROM sexton.run r
  JOIN sexton.job j ON j.id = r.job_id
 CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(j.targets) WITH ORDINALITY AS t(entry, ord)
 WHERE r.id = $1
 ORDER BY t.ord
