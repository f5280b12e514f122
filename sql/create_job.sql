-- Creates a job.
-- $1 its definition: a JSON object with every column. No rows. The trigger checks the editor's rights on the target.
INSERT INTO sexton.job (name, app, kind, params, inputs, run_as, database, schedule, time_zone, missed, max_lateness,
       jitter, timeout, max_attempts, backoff, backoff_max, resume_after, pause_after, priority, search_path,
       expect_success_every, keep_runs, keep_runs_for)
SELECT d.name, d.app, d.kind, d.params, d.inputs, d.run_as, d.database, d.schedule, d.time_zone, d.missed,
       d.max_lateness, d.jitter, d.timeout, d.max_attempts, d.backoff, d.backoff_max, d.resume_after, d.pause_after,
       d.priority, d.search_path, d.expect_success_every, d.keep_runs, d.keep_runs_for
  FROM pg_catalog.jsonb_populate_record(NULL::sexton.job, $1) d
