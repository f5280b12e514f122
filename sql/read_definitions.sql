-- The definitions of a file and those of the table, in one canonical form: what is equal in meaning is equal here.
-- $1 application, $2 the file's jobs: a JSON array of objects with every column of a definition.
-- Rows: in_file, name, definition (durations in seconds); for jobs of the table also whose they are, what was applied
-- last, generation, whether armed, by whom disarmed, whether marked as removed, last editor and when.
-- Jobs of other applications come only if the file names them. No locks.
WITH given AS (
  SELECT f.* FROM pg_catalog.jsonb_populate_recordset(NULL::sexton.job, $2) f),
named AS (
  SELECT true AS in_file, g.* FROM given g
  UNION ALL
  SELECT false, j.* FROM sexton.job j WHERE j.app = $1 OR j.name IN (SELECT g.name FROM given g))
SELECT n.in_file, n.name,
       pg_catalog.jsonb_build_object('kind', n.kind, 'params', n.params, 'inputs', n.inputs, 'run_as', n.run_as,
         'database', n.database, 'schedule', n.schedule, 'time_zone', n.time_zone, 'missed', n.missed,
         'max_attempts', n.max_attempts, 'pause_after', n.pause_after, 'priority', n.priority,
         'search_path', n.search_path, 'keep_runs', n.keep_runs)
       || (SELECT pg_catalog.jsonb_object_agg(v.name, extract(epoch FROM v.value)::float8)
             FROM (VALUES ('max_lateness', n.max_lateness), ('jitter', n.jitter), ('timeout', n.timeout),
                          ('backoff', n.backoff), ('backoff_max', n.backoff_max), ('resume_after', n.resume_after),
                          ('keep_runs_for', n.keep_runs_for),
                          ('expect_success_every', n.expect_success_every)) v (name, value)) AS definition,
       n.app, n.applied, n.generation, n.armed_revision IS NOT DISTINCT FROM n.revision AS armed, n.disarmed_by,
       n.removed_at IS NOT NULL AS removed, n.edited_by, n.edited_at
  FROM named n ORDER BY n.name, n.in_file DESC
