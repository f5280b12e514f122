-- Makes the definition of a job what is given.
-- $1 the definition: a JSON object with every column, name and app to find the job by. No rows. Locks: its row; the
-- trigger counts the revision if the work changes, and plans anew if the schedule does.
UPDATE sexton.job j
   SET kind = d.kind, params = d.params, inputs = d.inputs, run_as = d.run_as, database = d.database,
       schedule = d.schedule, time_zone = d.time_zone, missed = d.missed, max_lateness = d.max_lateness,
       jitter = d.jitter, timeout = d.timeout, max_attempts = d.max_attempts, backoff = d.backoff,
       backoff_max = d.backoff_max, resume_after = d.resume_after, pause_after = d.pause_after, priority = d.priority,
       search_path = d.search_path, expect_success_every = d.expect_success_every,
       keep_runs = d.keep_runs, keep_runs_for = d.keep_runs_for
  FROM pg_catalog.jsonb_populate_record(NULL::sexton.job, $1) d
 WHERE j.name = d.name AND j.app = d.app
