-- One job's whole definition and its switches. $1 its name. One row, or none if there is no such job. No locks.
SELECT name, app, kind, params, inputs, run_as, database, schedule, time_zone, missed, max_lateness::text, jitter::text,
       timeout::text, max_attempts, backoff::text, backoff_max::text, resume_after::text, pause_after, priority,
       search_path, expect_success_every::text, keep_runs, keep_runs_for::text, notices, resources, when_held, shares_table, max_running, paused_at, paused_by, pause_reason, paused_until, armed_at, armed_by,
       disarmed_at, disarmed_by, approved_rows, approved_by, revision, invalid_reason,
       coalesce(target_name, (SELECT string_agg(e ->> 'name', ', ') FROM pg_catalog.jsonb_array_elements(targets) e)) AS target_name, generation,
       created_at, edited_at, edited_by, origin, occurrence, due_at, attempt, run_options, run_inputs, holder, holder_pid, run_id
  FROM sexton.job
 WHERE name = $1
