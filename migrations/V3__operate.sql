-- What people may do, in SQL: the command line and every other front end go through these same functions.
-- Each takes the job's name, does one thing, writes it to the audit, and answers in one sentence. When a verb
-- that stops something returns, no batch of the old run can commit any more: its UPDATE waits for the row lock
-- that a committing batch holds, and every later batch finds the row changed.

CREATE FUNCTION sexton.job_named(p_job text) RETURNS sexton.job
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  last record;
BEGIN
  SELECT * INTO j FROM sexton.job WHERE name = p_job;
  IF NOT FOUND THEN
    SELECT * INTO last FROM sexton.run r WHERE r.job_name = p_job AND r.parent_id IS NOT NULL ORDER BY r.started_at DESC LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION '%: this one-off is done: % at %', p_job, last.state, last.finished_at USING ERRCODE = 'SX005',
        HINT = format('Its runs: SELECT * FROM sexton.runs WHERE job = %L;', p_job);
    END IF;
    RAISE EXCEPTION 'there is no job "%"', p_job USING ERRCODE = 'SX006', HINT = coalesce(
      'Jobs: ' || (SELECT string_agg(name, ', ' ORDER BY name) FROM (SELECT name FROM sexton.job WHERE parent_id IS NULL ORDER BY name LIMIT 20) n),
      'There are no jobs yet.');
  END IF;
  RETURN j;
END $$;
COMMENT ON FUNCTION sexton.job_named(text) IS 'The job with this name, or an error that names those that exist. Internal.';

CREATE FUNCTION sexton.note(p_verb text, j sexton.job, p_detail jsonb DEFAULT '{}') RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO sexton.audit (actor, verb, job_id, job_name, run_id, detail)
    VALUES (sexton.actor(), p_verb, j.id, j.name, j.run_id, jsonb_strip_nulls(p_detail)) $$;
COMMENT ON FUNCTION sexton.note(text, sexton.job, jsonb) IS 'Writes an audit row. Internal.';

CREATE FUNCTION sexton.pause(job text, reason text DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(pause.job);
BEGIN
  IF until <= clock_timestamp() THEN
    RAISE EXCEPTION 'job %: until: % has passed', job, until USING ERRCODE = 'SX006', HINT = 'Name an instant to come.';
  END IF;
  UPDATE sexton.job k SET paused_at = clock_timestamp(), paused_by = sexton.actor(), pause_reason = reason, paused_until = until
   WHERE k.id = j.id RETURNING * INTO j;
  PERFORM sexton.note('pause', j, jsonb_build_object('reason', reason, 'until', until));
  RETURN format('%s is paused%s.', job, CASE WHEN j.state = 'running'
    THEN '; no further batch commits, and it goes on there after resume' ELSE '' END);
END $$;
COMMENT ON FUNCTION sexton.pause(text, text, timestamptz) IS
  'Nothing of the job starts, and no further batch commits: its run is released with its cursor and goes on there after resume.';

CREATE FUNCTION sexton.resume(job text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(resume.job);
BEGIN
  IF j.paused_at IS NULL THEN
    RETURN format('%s was not paused.', job);
  END IF;
  UPDATE sexton.job k SET paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL,
         removed_at = NULL, failure_count = 0
   WHERE k.id = j.id RETURNING * INTO j;
  PERFORM sexton.note('resume', j);
  RETURN format('%s is resumed; %s.', job, CASE
    WHEN j.due_at <= clock_timestamp() THEN 'it is due now'
    WHEN j.due_at IS NULL THEN 'nothing is due'
    ELSE format('it is due at %s', j.due_at) END)
    || CASE WHEN (SELECT halted_at FROM sexton.meta) IS NOT NULL THEN ' pause_all() is still in force.' ELSE '' END;
END $$;
COMMENT ON FUNCTION sexton.resume(text) IS 'Ends a pause.';

CREATE FUNCTION sexton.pause_all(reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched bigint;
BEGIN
  -- The row alone would do, but not soon: claims that come meanwhile share it, one after the other, past us. For the
  -- table they stand in line.
  LOCK TABLE sexton.meta IN EXCLUSIVE MODE;
  UPDATE sexton.meta SET halted_at = coalesce(halted_at, clock_timestamp()), halted_by = sexton.actor(), halt_reason = reason;
  -- Touching the row makes it a barrier: this waits for a batch that is committing, and later ones see the halt.
  UPDATE sexton.job j SET version = j.version
   WHERE j.state = 'running' AND EXISTS (SELECT 1 FROM sexton.run r WHERE r.id = j.run_id AND r.destructive AND r.mode = 'real');
  GET DIAGNOSTICS touched = ROW_COUNT;
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'pause_all', jsonb_build_object('reason', reason, 'stopped', touched));
  PERFORM sexton.wake(0);
  RETURN format('Everything destructive is halted; %s running job(s) stop. resume_all() ends it.', touched);
END $$;
COMMENT ON FUNCTION sexton.pause_all(text) IS
  'The kill switch: nothing destructive starts, and no further destructive batch commits anywhere. Leaves the pauses of single jobs as they are.';

CREATE FUNCTION sexton.resume_all() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE sexton.meta IN EXCLUSIVE MODE;   -- as pause_all(), which says why
  UPDATE sexton.meta SET halted_at = NULL, halted_by = NULL, halt_reason = NULL WHERE halted_at IS NOT NULL;
  IF NOT FOUND THEN
    RETURN 'pause_all() was not in force.';
  END IF;
  INSERT INTO sexton.audit (actor, verb) VALUES (sexton.actor(), 'resume_all');
  PERFORM sexton.wake(0);
  RETURN format('The halt is lifted; %s job(s) that were paused one by one stay paused.',
    (SELECT count(*) FROM sexton.job WHERE paused_at IS NOT NULL AND parent_id IS NULL));
END $$;
COMMENT ON FUNCTION sexton.resume_all() IS 'Ends pause_all(). Jobs that were paused one by one stay paused.';

CREATE FUNCTION sexton.table_of(name text) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE ARRAY[n.nspname::text, c.relname::text] = parse_ident(table_of.name) $$;
COMMENT ON FUNCTION sexton.table_of(text) IS 'The table that has this qualified, quoted name now; NULL if none has. Unlike to_regclass it needs no USAGE on the schema. Internal.';

CREATE FUNCTION sexton.looked_up(targets jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_agg(e || jsonb_build_object('oid', coalesce(sexton.table_of(e ->> 'name'), (e ->> 'oid')::oid)) ORDER BY ord)
    FROM jsonb_array_elements(targets) WITH ORDINALITY AS t(e, ord) $$;
COMMENT ON FUNCTION sexton.looked_up(jsonb) IS 'The targets or other tables of a job, with the oids of the tables that have their names now. Internal.';

CREATE FUNCTION sexton.arm(job text, approve bigint DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(arm.job);
  named record;
BEGIN
  IF j.invalid_reason IS NOT NULL THEN
    RAISE EXCEPTION 'job %: cannot be armed, it is invalid: %', job, j.invalid_reason USING ERRCODE = 'SX005', HINT = 'Mend its definition first.';
  ELSIF approve < 0 THEN
    RAISE EXCEPTION 'job %: approve: % is no number of rows', job, approve USING ERRCODE = 'SX006';
  END IF;
  -- Another table may stand under the name by now. Whoever arms accepts it, if the author of the job could have.
  FOR named IN
    SELECT t.name, sexton.table_of(t.name) AS now_there, t.may
      FROM (SELECT j.target_name, j.target_oid, 'DELETE'
            UNION SELECT e ->> 'name', (e ->> 'oid')::oid, 'DELETE' FROM jsonb_array_elements(j.targets) e
            UNION SELECT e ->> 'name', (e ->> 'oid')::oid, e ->> 'may' FROM jsonb_array_elements(j.other_tables) e) AS t(name, oid, may)
     WHERE sexton.table_of(t.name) <> t.oid
  LOOP
    IF to_regrole(quote_ident(j.edited_by)) IS NULL
       OR NOT (CASE named.may WHEN 'INSERT' THEN has_any_column_privilege(j.edited_by, named.now_there, 'INSERT')
                              ELSE has_table_privilege(j.edited_by, named.now_there, named.may) END) THEN
      RAISE EXCEPTION 'job %: % was replaced, and %, who edited the job last, may not % the new one',
        job, named.name, j.edited_by, CASE named.may WHEN 'INSERT' THEN 'insert into' WHEN 'SELECT' THEN 'read' ELSE 'delete from' END USING ERRCODE = '42501', HINT = 'Edit the job as a role that may.';
    END IF;
    UPDATE sexton.job k
       SET target_oid = CASE WHEN k.target_name = named.name THEN named.now_there ELSE k.target_oid END,
           targets = sexton.looked_up(k.targets), other_tables = sexton.looked_up(k.other_tables)
     WHERE k.id = j.id;
  END LOOP;
  UPDATE sexton.job k SET armed_revision = k.revision, armed_at = clock_timestamp(), armed_by = sexton.actor(),
         disarmed_at = NULL, disarmed_by = NULL, approved_rows = approve,
         approved_by = CASE WHEN approve IS NOT NULL THEN sexton.actor() END,
         due_at = CASE WHEN approve IS NOT NULL AND k.state = 'idle' AND k.origin = 'resume' THEN clock_timestamp() ELSE k.due_at END
   WHERE k.id = j.id RETURNING * INTO j;
  PERFORM sexton.note('arm', j, jsonb_build_object('revision', j.revision, 'approve', approve));
  RETURN format('%s is armed at revision %s%s.', job, j.revision,
    CASE WHEN approve IS NOT NULL THEN format(', and one run may delete up to %s rows', approve) ELSE '' END);
END $$;
COMMENT ON FUNCTION sexton.arm(text, bigint) IS
  'Lets a destructive job delete, in its present revision; an edit disarms it. approve lets one run of this revision past the guards, up to that many rows.';

CREATE FUNCTION sexton.arm_applied(job text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(arm_applied.job);
BEGIN
  IF j.disarmed_at IS NOT NULL THEN
    RETURN false;
  ELSIF j.armed_revision IS DISTINCT FROM j.revision THEN
    UPDATE sexton.job k SET armed_revision = k.revision, armed_at = clock_timestamp(), armed_by = sexton.actor() WHERE k.id = j.id;
    PERFORM sexton.note('arm', j, jsonb_build_object('revision', j.revision, 'by', 'apply'));
  END IF;
  RETURN true;
END $$;
COMMENT ON FUNCTION sexton.arm_applied(text) IS
  'What apply does for a job with armed = true: arms it, unless a person disarmed it by hand (then false).';

CREATE FUNCTION sexton.disarm(job text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(disarm.job);
BEGIN
  UPDATE sexton.job k SET armed_revision = NULL, armed_at = NULL, armed_by = NULL, approved_rows = NULL, approved_by = NULL,
         disarmed_at = clock_timestamp(), disarmed_by = sexton.actor()
   WHERE k.id = j.id RETURNING * INTO j;
  PERFORM sexton.note('disarm', j);
  RETURN format('%s is disarmed: it only reports%s.', job, CASE WHEN j.state = 'running' THEN '; no further batch commits' ELSE '' END);
END $$;
COMMENT ON FUNCTION sexton.disarm(text) IS 'From now on the job only reports; apply does not arm it again.';

CREATE FUNCTION sexton.cancel(job text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.job_named(cancel.job);
BEGIN
  SELECT * INTO STRICT j FROM sexton.job k WHERE k.id = j.id FOR NO KEY UPDATE;
  IF j.state = 'running' THEN
    UPDATE sexton.job k SET cancel_requested_at = clock_timestamp(), cancel_requested_by = sexton.actor() WHERE k.id = j.id;
    PERFORM sexton.note('cancel', j);
    PERFORM sexton.wake(j.id);
    RETURN format('%s is being cancelled; no further batch commits.', job);
  ELSIF j.attempt > 0 OR j.origin <> 'schedule' THEN
    PERFORM sexton.leave_occurrence(j);
    PERFORM sexton.note('cancel', j, jsonb_build_object('occurrence', j.occurrence));
    PERFORM sexton.wake(j.id);
    RETURN format('%s will not be tried again for %s.', job, j.occurrence);
  END IF;
  RAISE EXCEPTION 'job %: nothing to cancel, it is not running', job USING ERRCODE = 'SX005',
    HINT = format('sexton.pause(%L) keeps it from starting.', job);
END $$;
COMMENT ON FUNCTION sexton.cancel(text) IS 'Ends the present run as cancelled, or drops a pending retry; the job goes on with its next occurrence.';

CREATE FUNCTION sexton.kill(job text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.job_named(kill.job);
BEGIN
  SELECT * INTO STRICT j FROM sexton.job k WHERE k.id = j.id FOR NO KEY UPDATE;
  IF j.state <> 'running' THEN
    RAISE EXCEPTION 'job %: nothing to kill, it is not running', job USING ERRCODE = 'SX005';
  END IF;
  IF j.cancel_requested_at IS NOT NULL THEN
    PERFORM sexton.settle_run(j.run_id, 'cancelled', 'cancelled by ' || j.cancel_requested_by || ', killed by ' || sexton.actor());
    PERFORM sexton.leave_occurrence(j);
  ELSE
    PERFORM sexton.settle_run(j.run_id, 'lost', 'killed by ' || sexton.actor());
    -- The occurrence stays (or its idempotency key would change), and the attempt was not at fault.
    PERFORM sexton.give_back(j.id, clock_timestamp(), j.attempt - 1);
  END IF;
  PERFORM sexton.note('kill', j, jsonb_build_object('backend_pid', j.holder_pid, 'holder', j.holder));
  PERFORM sexton.wake(j.id);
  RETURN j.holder_pid;
END $$;
COMMENT ON FUNCTION sexton.kill(text) IS
  'Takes the job from its holder at once: when this returns, nothing of the old run can commit. The same occurrence is due now, once the old session is gone (terminate_holder). Returns the backend that held it.';

CREATE FUNCTION sexton.terminate_holder(job text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.job_named(terminate_holder.job);
  last sexton.run;
  ended int[];
BEGIN
  SELECT * INTO last FROM sexton.run r WHERE r.job_id = j.id ORDER BY r.epoch DESC, r.version DESC LIMIT 1;
  -- Only backends that we recorded and that still hold their key: a stranger's session is not ours to end.
  SELECT array_agg(b.pid) INTO ended FROM (
    SELECT last.backend_pid AS pid WHERE sexton.lock_holder(j.lock_id) = last.backend_pid
    UNION ALL
    SELECT w.pid FROM unnest(sexton.worker_backends(j.worker_lock_id)) AS w(pid) WHERE w.pid = ANY (last.worker_pids)) b;
  IF ended IS NULL THEN
    RETURN false;
  END IF;
  PERFORM sexton.note('terminate_holder', j, jsonb_build_object('backend_pids', ended));
  RETURN (SELECT bool_or(pg_terminate_backend(pid)) FROM unnest(ended) AS e(pid));
END $$;
COMMENT ON FUNCTION sexton.terminate_holder(text) IS
  'Ends the sessions of the last holder that still hold the job''s keys: the run session and those of its workers. False if there is nothing to end.';

CREATE FUNCTION sexton.checked_inputs(j sexton.job, p_inputs jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  odd text;
  given record;
  checked jsonb := '{}';
BEGIN
  IF jsonb_typeof(p_inputs) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION 'job %: inputs: % is no object', j.name, coalesce(p_inputs::text, 'NULL') USING ERRCODE = 'SX006',
      HINT = 'Write {"name": value}, or {} for none.';
  END IF;
  SELECT key INTO odd FROM jsonb_object_keys(p_inputs) key WHERE NOT j.inputs ? key LIMIT 1;
  IF odd IS NOT NULL THEN
    RAISE EXCEPTION 'job %: inputs: "%" is not declared', j.name, odd USING ERRCODE = 'SX006',
      HINT = 'Declared: ' || coalesce((SELECT string_agg(key, ', ') FROM jsonb_object_keys(j.inputs) key), 'none');
  END IF;
  SELECT key INTO odd FROM jsonb_object_keys(j.inputs) key WHERE NOT p_inputs ? key LIMIT 1;
  IF odd IS NOT NULL THEN
    RAISE EXCEPTION 'job %: inputs: "%" is missing', j.name, odd USING ERRCODE = 'SX006', HINT = 'Every declared input needs a value.';
  END IF;
  FOR given IN SELECT i.key, i.value, i.value #>> '{}' AS text, lower(btrim(j.inputs ->> i.key)) AS type FROM jsonb_each(p_inputs) i LOOP
    BEGIN
      IF jsonb_typeof(given.value) IN ('object', 'array') OR given.type IN ('bool', 'boolean') AND given.text !~ '^(true|false)$' THEN
        RAISE SQLSTATE '22000';
      END IF;
      -- Instants in the one form that every replica reads.
      checked := checked || jsonb_build_object(given.key, CASE given.type
        WHEN 'timestamptz' THEN to_jsonb(given.text::timestamptz)
        WHEN 'date' THEN to_jsonb(given.text::date)
        WHEN 'bigint' THEN CASE WHEN given.text::bigint IS NOT NULL THEN given.value ELSE 'null' END
        WHEN 'integer' THEN CASE WHEN given.text::int IS NOT NULL THEN given.value ELSE 'null' END
        WHEN 'int' THEN CASE WHEN given.text::int IS NOT NULL THEN given.value ELSE 'null' END
        WHEN 'uuid' THEN to_jsonb(given.text::uuid)
        ELSE given.value END);
    EXCEPTION WHEN data_exception THEN
      RAISE EXCEPTION 'job %: inputs: "%" is %, which is no %', j.name, given.key, left(given.value::text, 200), given.type
        USING ERRCODE = 'SX006', HINT = format('It is declared as %s.', given.type);
    END;
  END LOOP;
  RETURN checked;
END $$;
COMMENT ON FUNCTION sexton.checked_inputs(sexton.job, jsonb) IS
  'The inputs, if they are just those that the job declares, each of its type; else an error that says which is not. Internal.';

CREATE FUNCTION sexton.run_now(job text, options jsonb DEFAULT '{}', inputs jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(run_now.job);
  odd text;
BEGIN
  SELECT * INTO STRICT j FROM sexton.job k WHERE k.id = j.id FOR NO KEY UPDATE;
  SELECT key INTO odd FROM jsonb_object_keys(run_now.options) key
   WHERE key <> ALL ('{dry_run,limit_rows,time_limit,range,force}') LIMIT 1;
  IF odd IS NOT NULL THEN
    RAISE EXCEPTION 'job %: options: "%" is not known', job, odd USING ERRCODE = 'SX006',
      HINT = 'Options: dry_run, limit_rows, time_limit, range, force.';
  END IF;
  run_now.inputs := sexton.checked_inputs(j, run_now.inputs);
  IF run_now.options ? 'force' AND NOT has_column_privilege(session_user, 'sexton.job', 'params', 'UPDATE') THEN
    RAISE EXCEPTION 'job %: options: force is for authors of jobs', job USING ERRCODE = '42501',
      HINT = 'It widens what the job may do; ask for sexton.arm(job, approve) instead.';
  END IF;
  IF j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > clock_timestamp()) THEN
    RAISE EXCEPTION 'job %: paused by %', job, j.paused_by || coalesce(': ' || j.pause_reason, '') USING ERRCODE = 'SX005',
      HINT = format('SELECT sexton.resume(%L);', job);
  ELSIF j.invalid_reason IS NOT NULL THEN
    RAISE EXCEPTION 'job %: invalid: %', job, j.invalid_reason USING ERRCODE = 'SX005', HINT = 'Mend its definition first.';
  END IF;
  -- What was answered with "due now" or "once more" is not replaced by another wish.
  IF (j.state = 'running' AND j.rerun <> jsonb_build_object('options', run_now.options, 'inputs', run_now.inputs))
     OR (j.state = 'idle' AND j.origin = 'run_now' AND (j.run_options, j.run_inputs) <> (run_now.options, run_now.inputs)) THEN
    RAISE EXCEPTION 'job %: is to run once already, with other options or inputs', job USING ERRCODE = 'SX005',
      HINT = format('Wait for it, or drop it first: SELECT sexton.cancel(%L);', job);
  END IF;
  PERFORM sexton.note('run_now', j, jsonb_build_object('options', options, 'inputs', inputs));
  PERFORM sexton.wake(j.id);

  IF j.state = 'running' THEN
    UPDATE sexton.job k SET rerun = jsonb_build_object('options', run_now.options, 'inputs', run_now.inputs) WHERE k.id = j.id;
    RETURN format('%s is running; it runs once more afterwards.', job);
  ELSIF j.attempt > 0 AND (run_now.options, run_now.inputs) = (j.run_options, j.run_inputs) THEN
    UPDATE sexton.job k SET due_at = clock_timestamp() WHERE k.id = j.id;
    RETURN format('%s is tried again now.', job);
  END IF;
  -- An extra occurrence: the grid in scheduled_at stands, so an "every" keeps its phase.
  UPDATE sexton.job k SET occurrence = clock_timestamp(), due_at = clock_timestamp(), origin = 'run_now', attempt = 0,
         run_options = run_now.options, run_inputs = run_now.inputs
   WHERE k.id = j.id;
  RETURN format('%s is due now.', job);
END $$;
COMMENT ON FUNCTION sexton.run_now(text, jsonb, jsonb) IS
  'An extra occurrence, due now: idle jobs run, a pending retry is tried at once, a running job runs once more afterwards, a paused one is an error. Options hold for this occurrence alone.';

CREATE FUNCTION sexton.adopt() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE sexton.meta SET adopt_needed_at = NULL WHERE adopt_needed_at IS NOT NULL;
  IF NOT FOUND THEN
    RETURN 'Nothing to adopt: this database is the one that it was.';
  END IF;
  -- Another cluster has other oids.
  UPDATE sexton.job SET target_oid = sexton.table_of(target_name) WHERE target_name IS NOT NULL;
  UPDATE sexton.job SET targets = sexton.looked_up(targets), other_tables = sexton.looked_up(other_tables)
   WHERE targets IS NOT NULL OR other_tables IS NOT NULL;
  INSERT INTO sexton.audit (actor, verb) VALUES (sexton.actor(), 'adopt');
  PERFORM sexton.wake(0);
  RETURN 'Adopted: destructive and outside kinds run again, in this database.';
END $$;
COMMENT ON FUNCTION sexton.adopt() IS
  'Says that this restored or cloned database shall be maintained: until then destructive and outside kinds wait.';

CREATE FUNCTION sexton.deployed(job text, deploy text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(deployed.job);
BEGIN
  UPDATE sexton.job k SET deploys = (k.deploys || deploy)[greatest(cardinality(k.deploys) - 8, 1):],
         occurrence = clock_timestamp(), due_at = clock_timestamp(), attempt = 0, origin = 'deploy'
   WHERE k.id = j.id AND NOT deploy = ANY (k.deploys) AND k.schedule ~* '^\s*at\s+deploy\M'
     AND k.state = 'idle' AND k.attempt = 0 AND (k.due_at IS NULL OR k.due_at > clock_timestamp());
  IF FOUND THEN
    PERFORM sexton.wake(j.id);
  END IF;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION sexton.deployed(text, text) IS
  'Makes a job "at deploy" due if this deployment (the generation of a file) is new to it. True if it did.';

-- ---------------------------------------------------------------------------------------------------------
-- Authors: one line of SQL gets a newcomer a job. These run with the caller's own rights.
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.schedule(name text, schedule text, kind text, params jsonb DEFAULT '{}') RETURNS text
LANGUAGE sql AS $$
  INSERT INTO sexton.job AS j (name, schedule, kind, params) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET schedule = excluded.schedule, time_zone = excluded.time_zone,
      kind = excluded.kind, params = excluded.params
  RETURNING format('%s is scheduled: %s %s', j.name, j.schedule, j.time_zone) $$;
COMMENT ON FUNCTION sexton.schedule(text, text, text, jsonb) IS
  'Creates a job, or changes its schedule, kind and params.';

CREATE FUNCTION sexton.schedule_purge(
  table_name text, by text, retention text, schedule text DEFAULT 'daily 03:00', "where" text DEFAULT NULL, name text DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
  SELECT sexton.schedule(
           coalesce($6, 'purge-' || trim(BOTH '-' FROM regexp_replace($1, '[^A-Za-z0-9._~]+', '-', 'g'))), $4, 'purge',
           jsonb_strip_nulls(jsonb_build_object('table', $1, 'by', $2, 'retention', $3, 'where', $5)))
         || '. It only reports until you arm it.' $$;
COMMENT ON FUNCTION sexton.schedule_purge(text, text, text, text, text, text) IS
  'Creates a purge of rows of table_name whose column by is older than retention. It is born disarmed: SELECT sexton.arm(name) lets it delete.';

CREATE FUNCTION sexton.unschedule(name text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM sexton.job j WHERE j.name = unschedule.name;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION sexton.unschedule(text) IS 'Deletes a job; its history stays. A running one is killed. False if there was none.';

CREATE FUNCTION sexton.rename(name text, new_name text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE sexton.job j SET name = new_name WHERE j.name = rename.name;
  RETURN FOUND;
END $$;
COMMENT ON FUNCTION sexton.rename(text, text) IS 'Renames a job; its history stays with it. False if there was none.';
