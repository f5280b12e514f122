-- A child or archive of a run's job, as it was resolved when the job was saved. $1 run id, $2 the table as the job writes it.
-- One row, or none if it was not resolved: its name then, schema-qualified and quoted, and its oid. No locks.
SELECT t.entry ->> 'name' AS name, (t.entry ->> 'oid')::oid AS oid
  FROM sexton.run r
  JOIN sexton.job j ON j.id = r.job_id
 CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(j.other_tables) AS t(entry)
 WHERE r.id = $1 AND t.entry ->> 'as' = $2
 LIMIT 1
