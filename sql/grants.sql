-- Who may do what. Run after the migrations, each time: it is the same however often it runs, and it also serves
-- roles that were created later. Where a role does not exist, nothing is granted to it; then everything runs under
-- one role.
--
-- Sent as one batch by `sexton migrate`; no parameters, no rows.
REVOKE ALL ON SCHEMA sexton FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sexton FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA sexton FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sexton FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA sexton REVOKE ALL ON FUNCTIONS FROM PUBLIC;

DO $grants$
DECLARE
  grantee text;
  viewing text := 'actor(), lock_holder(int), worker_backends(int), stop_reason(sexton.job, sexton.run, bigint, timestamptz), why(text), ping(bigint, bigint, uuid), holds_on(oid), lacks(text[], text[]), held_by(text, boolean), is_paused(sexton.job)';
BEGIN
  FOREACH grantee IN ARRAY '{sexton_runner,sexton_operator,sexton_author,sexton_viewer}'::text[] LOOP
    CONTINUE WHEN to_regrole(grantee) IS NULL;
    EXECUTE format('GRANT USAGE ON SCHEMA sexton TO %I', grantee);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA sexton TO %I', grantee);
    EXECUTE format('GRANT EXECUTE ON FUNCTION sexton.%s TO %I', replace(viewing, '), ', '), sexton.'), grantee);
    EXECUTE format('GRANT EXECUTE ON FUNCTION sexton.notices_fault(jsonb), sexton.events_fault(text[]), sexton.channel_fault(text), sexton.deliveries_next(text[]), sexton.is_reached(text, text[]) TO %I', grantee);
  END LOOP;
  IF to_regrole('sexton_runner') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION
      sexton.claim(bigint, bigint, bigint, uuid, uuid, text, text, boolean, boolean),
      sexton.fence(bigint, bigint, uuid, int, bigint, bigint, jsonb),
      sexton.split(bigint, bigint, uuid, jsonb), sexton.join_run(bigint, bigint, uuid),
      sexton.catch_up(bigint, bigint, uuid, uuid, bigint, bigint, jsonb),
      sexton.finish(bigint, bigint, uuid, text, text, jsonb, bigint, interval, text, text, timestamptz, timestamptz, bigint, timestamptz),
      sexton.note_progress(uuid, jsonb), sexton.note_changes(uuid, jsonb), sexton.note_owner(uuid, text, jsonb), sexton.note_deferred(uuid, jsonb, text[]),
      sexton.note_resources(uuid, jsonb), sexton.next_one_offs(text[], bigint, text[]),
      sexton.take_resources(jsonb, bigint), sexton.give_resource(text, boolean), sexton.give_all(),
      sexton.submit_rows(text, jsonb, bigint), sexton.submit(text, jsonb, timestamptz, text),
      sexton.plan(bigint, bigint, text, text, timestamptz, timestamptz, bigint, text[]),
      sexton.skip(bigint, bigint, text, text, timestamptz, timestamptz, bigint),
      sexton.accept(bigint, bigint, text[]), sexton.reject(bigint, bigint, text, text, text),
      sexton.replica_start(uuid, text, text, int, text[], text, text[]), sexton.replica_knows(uuid, text[]), sexton.observe(), sexton.prune(bigint),
      sexton.take_deliveries(uuid, text[], int, interval), sexton.note_delivery(bigint, int, text), sexton.raise_alarms()
      TO sexton_runner;
  END IF;
  FOREACH grantee IN ARRAY '{sexton_operator,sexton_author}'::text[] LOOP
    CONTINUE WHEN to_regrole(grantee) IS NULL;
    EXECUTE format('GRANT INSERT (table_name, predicate, reason, database) ON sexton.hold TO %I', grantee);
    EXECUTE format('GRANT EXECUTE ON FUNCTION sexton.hold(text, text, text, text), sexton.unhold(bigint) TO %I', grantee);
    EXECUTE format('GRANT EXECUTE ON FUNCTION sexton.subscribe(text, text[], text), sexton.unsubscribe(text, text), sexton.channel_on(text) TO %I', grantee);
  END LOOP;
  IF to_regrole('sexton_operator') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION
      sexton.pause(text, text, timestamptz), sexton.resume(text), sexton.pause_all(text), sexton.resume_all(),
      sexton.arm(text, bigint), sexton.disarm(text), sexton.cancel(text), sexton.kill(text),
      sexton.terminate_holder(text), sexton.run_now(text, jsonb, jsonb), sexton.adopt(),
      sexton.submit(text, jsonb, timestamptz, text), sexton.take_resources(jsonb, bigint),
      sexton.give_resource(text, boolean), sexton.give_all()
      TO sexton_operator;
  END IF;
  IF to_regrole('sexton_author') IS NOT NULL THEN
    GRANT INSERT (name, app, kind, params, inputs, run_as, database, schedule, time_zone, missed, max_lateness, jitter,
                  timeout, max_attempts, backoff, backoff_max, resume_after, pause_after, priority, search_path,
                  expect_success_every, keep_runs, keep_runs_for, notices, resources, when_held, shares_table, max_running, applied, generation),
          UPDATE (name, app, kind, params, inputs, run_as, database, schedule, time_zone, missed, max_lateness, jitter,
                  timeout, max_attempts, backoff, backoff_max, resume_after, pause_after, priority, search_path,
                  expect_success_every, keep_runs, keep_runs_for, notices, resources, when_held, shares_table, max_running, applied, generation, removed_at, paused_at, paused_by, pause_reason, paused_until),
          DELETE ON sexton.job TO sexton_author;
    GRANT USAGE ON SEQUENCE sexton.lock_id TO sexton_author;
    GRANT EXECUTE ON FUNCTION
      sexton.schedule(text, text, text, jsonb), sexton.schedule_purge(text, text, text, text, text, text),
      sexton.unschedule(text), sexton.rename(text, text), sexton.arm_applied(text), sexton.deployed(text, text),
      sexton.run_now(text, jsonb, jsonb), sexton.submit(text, jsonb, timestamptz, text)
      TO sexton_author;
  END IF;
END $grants$;
