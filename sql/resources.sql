-- Which resources are held, and who waits. $1 a resource's name or NULL for all. A row for each holder and each who
-- waits, by name, holders first, with the database's clock as "now". No locks.
SELECT name, shared, waits, backend_pid, job, holder, since, run_id, behind, pg_catalog.clock_timestamp() AS now
  FROM sexton.resources
 WHERE $1::text IS NULL OR name = $1
 ORDER BY name, waits, since
