-- The protocol: every transition of a job is one function here, so that no replica can make an illegal one.
-- docs/protocol.md is its specification; read that before you change a line.
--
-- SQLSTATEs of our own: SX001 fenced (DETAIL says why, in one word), SX002 illegal transition, SX003 the job's
-- lock is not held by this very backend, SX004 a batch does not follow the one before, SX005 a person's
-- request cannot be met in the present state, SX006 something that a person gave is wrong.

-- ---------------------------------------------------------------------------------------------------------
-- The guard of the table: what a plain INSERT, UPDATE or DELETE sets in motion
-- ---------------------------------------------------------------------------------------------------------

-- Runs with the rights of whoever writes, on purpose: "may the editor delete from that table?" is asked of
-- him or her. Everything is schema-qualified, since the search_path is the editor's too, and must be: it
-- resolves params.table.
CREATE FUNCTION sexton.job_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  defined boolean := TG_OP = 'INSERT';
  rescheduled boolean := TG_OP = 'INSERT';
  target pg_catalog.regclass;
  other record;
  words text[];
BEGIN
  IF TG_OP = 'UPDATE' THEN
    defined := (NEW.kind, NEW.params, NEW.inputs, NEW.run_as, NEW.database)
               IS DISTINCT FROM (OLD.kind, OLD.params, OLD.inputs, OLD.run_as, OLD.database);
    rescheduled := (NEW.schedule, NEW.time_zone) IS DISTINCT FROM (OLD.schedule, OLD.time_zone);
    IF NEW.id <> OLD.id THEN
      RAISE EXCEPTION 'job %: the id cannot change', OLD.name USING ERRCODE = 'SX002';
    END IF;
    IF NEW.version < OLD.version THEN
      RAISE EXCEPTION 'job %: version must not go back', OLD.name USING ERRCODE = 'SX002';
    END IF;
    NEW.revision := OLD.revision;
  ELSE
    NEW.revision := 1;
  END IF;

  IF defined THEN
    IF TG_OP = 'UPDATE' THEN
      NEW.revision := OLD.revision + 1;
    END IF;
    NEW.invalid_reason := NULL;
    NEW.approved_rows := NULL;
    NEW.approved_by := NULL;
    NEW.needs := '{}';
    NEW.target_name := NULL;
    NEW.target_oid := NULL;
    NEW.targets := NULL;
    NEW.other_tables := NULL;
    IF NEW.run_as IS NOT NULL AND pg_catalog.to_regrole(pg_catalog.quote_ident(NEW.run_as)) IS NULL THEN
      RAISE EXCEPTION 'job %: run_as: there is no role "%"', NEW.name, NEW.run_as USING ERRCODE = '42704';
    ELSIF NEW.run_as IS NOT NULL AND NOT pg_catalog.pg_has_role(current_user, NEW.run_as::name, 'MEMBER') THEN
      RAISE EXCEPTION 'job %: run_as: you are not a member of role "%"', NEW.name, NEW.run_as
        USING ERRCODE = '42501', HINT = 'A job has no more rights than its editor.';
    END IF;
    IF NEW.params ? 'table' AND NEW.database IS NULL THEN
      BEGIN
        target := pg_catalog.to_regclass(NEW.params ->> 'table');
      EXCEPTION WHEN invalid_name OR syntax_error THEN
        -- Before PostgreSQL 16; later ones say NULL.
        RAISE EXCEPTION 'job %: params.table: "%" is no table name', NEW.name, NEW.params ->> 'table'
          USING ERRCODE = '42P01', HINT = 'Write it as SQL does, odd names in double quotes: app."odd name".';
      END;
      IF target IS NULL THEN
        RAISE EXCEPTION 'job %: params.table: table "%" does not exist', NEW.name, NEW.params ->> 'table'
          USING ERRCODE = '42P01', HINT = 'Create it first, or name its schema as well: schema.table.';
      END IF;
      IF NEW.kind = 'purge' AND NOT pg_catalog.has_table_privilege(current_user, target, 'DELETE') THEN
        RAISE EXCEPTION 'job %: params.table: you may not delete from "%"', NEW.name, NEW.params ->> 'table'
          USING ERRCODE = '42501', HINT = 'A job has no more rights than its editor: grant DELETE on the table first.';
      END IF;
      SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) INTO NEW.target_oid, NEW.target_name
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = target;
    END IF;
    IF NEW.kind = 'purge' AND NEW.database IS NULL THEN
      -- The other tables that it writes to: those of its targets, children and archives.
      FOR other IN
        WITH target(path, entry) AS (
          SELECT '', NEW.params
          UNION ALL SELECT pg_catalog.format('targets[%s].', t.ord - 1), t.entry
            FROM pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(NEW.params -> 'targets')
                   WHEN 'array' THEN NEW.params -> 'targets' ELSE '[]' END) WITH ORDINALITY AS t(entry, ord)
           WHERE t.entry ->> 'database' IS NULL
        ), child(path, parent, entry) AS (
          SELECT t.path, t.entry ->> 'table', c.entry
            FROM target t CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(CASE pg_catalog.jsonb_typeof(t.entry -> 'children')
                   WHEN 'array' THEN t.entry -> 'children' ELSE '[]' END) AS c(entry)
        ), named(param, name, may, parent) AS (
          SELECT path || 'table', entry ->> 'table', 'DELETE', NULL FROM target WHERE path <> ''
          UNION ALL
          SELECT path || 'children', CASE pg_catalog.jsonb_typeof(entry) WHEN 'string' THEN entry #>> '{}' ELSE entry ->> 'table' END, 'DELETE', parent
            FROM child
          UNION ALL SELECT path || 'children.archive', entry -> 'archive' ->> 'table', 'INSERT', NULL FROM child
          UNION ALL SELECT path || 'archive', entry -> 'archive' ->> 'table', 'INSERT', NULL FROM target
          -- What is kept in a storage is read there by whoever may.
          UNION ALL SELECT path || 'children.archive', entry ->> 'table', 'SELECT', parent FROM child WHERE entry -> 'archive' ? 'storage'
          UNION ALL SELECT path || 'archive', entry ->> 'table', 'SELECT', NULL FROM target WHERE entry -> 'archive' ? 'storage'
        )
        SELECT n.param, n.name, n.may, pg_catalog.to_regclass(n.name) AS oid, pg_catalog.to_regclass(n.parent) AS parent
          FROM named n WHERE n.name ~ '\S'
      LOOP
        IF other.oid IS NULL THEN
          RAISE EXCEPTION 'job %: params.%: table "%" does not exist', NEW.name, other.param, other.name
            USING ERRCODE = '42P01', HINT = coalesce('Tables that refer to ' || (
              SELECT pg_catalog.format('%I.%I', n.nspname, k.relname)
                FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = other.parent) || ': ' || (
              SELECT pg_catalog.string_agg(DISTINCT c.conrelid::pg_catalog.regclass::text, ', ')
                FROM pg_catalog.pg_constraint c
               WHERE c.contype = 'f' AND c.confrelid = other.parent),
              'Create it first, or name its schema as well: schema.table.');
        ELSIF NOT (CASE other.may WHEN 'INSERT' THEN pg_catalog.has_any_column_privilege(current_user, other.oid, 'INSERT')
                                  ELSE pg_catalog.has_table_privilege(current_user, other.oid, other.may) END) THEN
          RAISE EXCEPTION 'job %: params.%: you have no % right on "%"', NEW.name, other.param, other.may, other.name
            USING ERRCODE = '42501', HINT = 'A job has no more rights than its editor: grant it first.';
        ELSIF other.param !~ 'table$' THEN
          NEW.other_tables := coalesce(NEW.other_tables, '[]') || (
            SELECT pg_catalog.jsonb_build_object('as', other.name, 'name', pg_catalog.format('%I.%I', n.nspname, c.relname), 'oid', c.oid, 'may', other.may)
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = other.oid);
        END IF;
      END LOOP;
    END IF;
    IF NEW.kind = 'purge' AND pg_catalog.jsonb_typeof(NEW.params -> 'targets') = 'array' THEN
      -- Those in other databases stay unknown here.
      SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
               'name', CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, c.relname) END, 'oid', c.oid) ORDER BY t.ord)
        INTO NEW.targets
        FROM pg_catalog.jsonb_array_elements(NEW.params -> 'targets') WITH ORDINALITY AS t(entry, ord)
        LEFT JOIN pg_catalog.pg_class c ON NEW.database IS NULL AND t.entry ->> 'database' IS NULL
                                       AND c.oid = pg_catalog.to_regclass(t.entry ->> 'table')
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace;
    END IF;
  END IF;

  IF rescheduled THEN
    -- One place for the zone: "daily 03:00 Europe/Paris" becomes "daily 03:00" and time_zone.
    words := pg_catalog.regexp_match(NEW.schedule,
      '^(.*\S)\s+([A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+|UTC)\s*$');
    IF words IS NOT NULL THEN
      NEW.schedule := words[1];
      NEW.time_zone := words[2];
    END IF;
    BEGIN
      PERFORM pg_catalog.timezone(NEW.time_zone, pg_catalog.now());
    EXCEPTION WHEN invalid_parameter_value THEN
      RAISE EXCEPTION 'job %: time_zone: "%" is not a time zone', NEW.name, NEW.time_zone
        USING ERRCODE = 'SX006', HINT = 'Name one of the IANA data base, such as Europe/Paris or UTC.';
    END;
    NEW.invalid_reason := NULL;
    NEW.planned := false;
    NEW.scheduled_at := NULL;
    NEW.plan_from := NULL;
    -- A regular occurrence of the old schedule is void; if its time had come, it counts as missed. What a
    -- person asked for (run now) stays.
    IF TG_OP = 'UPDATE' AND NEW.state = 'idle' AND OLD.origin = 'schedule' THEN
      IF OLD.occurrence <= pg_catalog.clock_timestamp() AND OLD.attempt = 0 THEN
        NEW.missed_count := OLD.missed_count + 1;
      END IF;
      NEW.last_scheduled_at := greatest(OLD.last_scheduled_at,
        CASE WHEN OLD.occurrence <= pg_catalog.clock_timestamp() THEN OLD.occurrence END);
      NEW.occurrence := NULL;
      NEW.origin := NULL;
      NEW.due_at := NULL;
      NEW.attempt := 0;
    END IF;
  END IF;

  IF TG_OP = 'UPDATE' AND (defined OR rescheduled) THEN
    NEW.edited_at := pg_catalog.clock_timestamp();
    NEW.edited_by := session_user;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.job_guard() IS
  'Counts revisions, checks the editor''s rights on the target, resolves its name, voids what an edited schedule had planned.';
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON sexton.job
  FOR EACH ROW WHEN (NEW.parent_id IS NULL) EXECUTE FUNCTION sexton.job_guard();   -- one-offs: V6
COMMENT ON TRIGGER guard ON sexton.job IS 'See sexton.job_guard().';

CREATE FUNCTION sexton.job_noted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    -- Deleting a running job is a kill: its row is gone, so no batch of it can commit any more.
    IF OLD.state = 'running' THEN
      PERFORM sexton.settle_run(OLD.run_id, 'lost', 'the job was deleted by ' || sexton.actor());
    END IF;
    IF OLD.parent_id IS NOT NULL THEN
      RETURN OLD;
    END IF;
    INSERT INTO sexton.audit (actor, verb, job_id, job_name) VALUES (sexton.actor(), 'delete', OLD.id, OLD.name);
    RETURN OLD;
  END IF;
  -- One-offs come and go by the thousand; their definitions and edits are their job's.
  IF NEW.parent_id IS NOT NULL THEN
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    PERFORM sexton.pass_on(OLD, NEW);
  END IF;
  IF TG_OP = 'INSERT' OR NEW.revision <> OLD.revision THEN
    INSERT INTO sexton.revision (job_id, revision, job_name, definition, edited_by)
      VALUES (NEW.id, NEW.revision, NEW.name, jsonb_strip_nulls(jsonb_build_object('kind', NEW.kind,
        'params', NEW.params, 'inputs', NEW.inputs, 'run_as', NEW.run_as, 'database', NEW.database)), sexton.actor());
  END IF;
  IF TG_OP = 'INSERT' OR NEW.revision <> OLD.revision OR NEW.name <> OLD.name
     OR (NEW.schedule, NEW.time_zone) IS DISTINCT FROM (OLD.schedule, OLD.time_zone) THEN
    INSERT INTO sexton.audit (actor, verb, job_id, job_name, detail)
      VALUES (sexton.actor(), CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE 'edit' END, NEW.id, NEW.name,
              jsonb_build_object('revision', NEW.revision, 'schedule', NEW.schedule, 'time_zone', NEW.time_zone));
    PERFORM sexton.wake(NEW.id);
  ELSIF NEW.paused_at IS DISTINCT FROM OLD.paused_at OR NEW.armed_revision IS DISTINCT FROM OLD.armed_revision THEN
    PERFORM sexton.wake(NEW.id);
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.job_noted() IS 'Keeps every definition, writes the audit, wakes the replicas, ends the run of a deleted job.';

-- ---------------------------------------------------------------------------------------------------------
-- Small common parts
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.actor() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(nullif(current_setting('sexton.actor', true), ''), session_user::text) $$;
COMMENT ON FUNCTION sexton.actor() IS
  'Who acts: the login role, or the person that a trusted front end named by SET sexton.actor.';

CREATE FUNCTION sexton.wake(p_job bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_notify('sexton', p_job::text) $$;
COMMENT ON FUNCTION sexton.wake(bigint) IS
  'Hints at replicas to look at the table now. Any role can send such a hint, so nothing in it is trusted; without it they look in time all the same.';

CREATE FUNCTION sexton.lock_holder(p_lock_id int) RETURNS int
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT l.pid FROM pg_locks l, sexton.meta m
   WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.mode = 'ExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
     AND l.classid = m.lock_class::oid AND l.objid = p_lock_id::oid $$;
COMMENT ON FUNCTION sexton.lock_holder(int) IS 'The backend that holds the advisory lock with this id exclusively; NULL if none does.';

CREATE FUNCTION sexton.worker_backends(p_lock_id int) RETURNS int[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(l.pid ORDER BY l.pid), '{}') FROM pg_locks l, sexton.meta m
   WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.mode = 'ShareLock'
     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
     AND l.classid = m.lock_class::oid AND l.objid = p_lock_id::oid $$;
COMMENT ON FUNCTION sexton.worker_backends(int) IS
  'The backends that hold the advisory lock with this id shared: of job.worker_lock_id, the worker sessions of a run.';

CREATE FUNCTION sexton.settle_run(p_run uuid, p_state text, p_error text, p_report jsonb DEFAULT NULL) RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.run r
     SET state = p_state, finished_at = clock_timestamp(), error = p_error, report = p_report,
         batches = p.batches, rows_done = p.rows_done
    FROM (SELECT coalesce(sum(seq), 0)::bigint AS batches, coalesce(sum(rows), 0)::bigint AS rows_done
            FROM sexton.run_part WHERE run_id = p_run) p
   WHERE r.id = p_run AND r.state = 'running'
  RETURNING true $$;
COMMENT ON FUNCTION sexton.settle_run(uuid, text, text, jsonb) IS
  'Gives a running run its outcome, with the totals of its parts. NULL if it has one already. Internal.';

CREATE FUNCTION sexton.stop_reason(j sexton.job, r sexton.run, p_version bigint, p_halted_at timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN j.id IS NULL THEN 'gone'
    WHEN j.version IS DISTINCT FROM p_version OR j.run_id IS DISTINCT FROM r.id
         OR j.state <> 'running' OR r.state <> 'running' THEN 'superseded'
    WHEN j.revision <> r.revision THEN 'edited'
    WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'
    WHEN j.paused_at IS NOT NULL THEN 'paused'
    WHEN r.destructive AND r.mode = 'real' AND p_halted_at IS NOT NULL THEN 'halted'
    WHEN r.destructive AND r.mode = 'real' AND j.armed_revision IS DISTINCT FROM j.revision THEN 'disarmed'
    WHEN r.held_at IS NOT NULL THEN 'held'
  END $$;
COMMENT ON FUNCTION sexton.stop_reason(sexton.job, sexton.run, bigint, timestamptz) IS
  'The one place that says when a run must stop; NULL: it holds its job. Used by the fence, held_run and the ping.';

-- The next occurrence of an idle job, after one was settled: run once more if asked, else the grid.
-- A NULL p_scheduled_at with p_planned false leaves the planning to a replica.
CREATE FUNCTION sexton.advance(p_job bigint, p_planned boolean, p_scheduled_at timestamptz, p_due_at timestamptz,
  p_resume_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  grid_due timestamptz := CASE WHEN p_planned THEN coalesce(p_due_at, p_scheduled_at) END;
BEGIN
  SELECT * INTO STRICT j FROM sexton.job WHERE id = p_job;
  -- A one-off has no next occurrence: it is gone when it is done, and stays in the history.
  IF j.parent_id IS NOT NULL AND p_resume_at IS NULL THEN
    DELETE FROM sexton.job WHERE id = p_job;
    RETURN;
  END IF;
  UPDATE sexton.job SET
    state = 'idle', version = version + 1, run_id = NULL, replica_id = NULL, holder = NULL, holder_pid = NULL,
    cancel_requested_at = NULL, cancel_requested_by = NULL, attempt = 0,
    planned = p_planned, scheduled_at = CASE WHEN p_planned THEN p_scheduled_at END,
    last_scheduled_at = CASE WHEN j.origin = 'schedule'
                             THEN greatest(j.last_scheduled_at, j.occurrence) ELSE j.last_scheduled_at END,
    plan_from = CASE WHEN p_planned OR j.scheduled_at IS NULL THEN NULL ELSE j.occurrence END,
    occurrence = CASE WHEN j.rerun IS NOT NULL THEN clock_timestamp()
                      WHEN p_resume_at IS NOT NULL AND (grid_due IS NULL OR p_resume_at < grid_due) THEN p_resume_at
                      WHEN p_planned THEN p_scheduled_at END,
    origin     = CASE WHEN j.rerun IS NOT NULL THEN 'run_now'
                      WHEN p_resume_at IS NOT NULL AND (grid_due IS NULL OR p_resume_at < grid_due) THEN 'resume'
                      WHEN p_planned AND p_scheduled_at IS NOT NULL THEN 'schedule' END,
    due_at     = CASE WHEN j.rerun IS NOT NULL THEN clock_timestamp()
                      WHEN p_resume_at IS NOT NULL AND (grid_due IS NULL OR p_resume_at < grid_due) THEN p_resume_at
                      ELSE grid_due END,
    run_options = coalesce(j.rerun -> 'options', '{}'),
    run_inputs  = coalesce(j.rerun -> 'inputs', CASE WHEN j.parent_id IS NOT NULL THEN j.run_inputs END, '{}'),
    rerun = NULL
  WHERE id = p_job;
END $$;
COMMENT ON FUNCTION sexton.advance(bigint, boolean, timestamptz, timestamptz, timestamptz) IS
  'Gives a job back, idle, with its next occurrence. Internal; the caller holds the row''s lock.';

-- What a settlement in SQL alone can do: where the regular instant was settled, a replica plans the next one;
-- where it was an extra one, the grid stands as it is.
CREATE FUNCTION sexton.leave_occurrence(j sexton.job) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT sexton.advance(j.id, j.planned AND j.scheduled_at IS DISTINCT FROM j.occurrence, j.scheduled_at, NULL, NULL) $$;
COMMENT ON FUNCTION sexton.leave_occurrence(sexton.job) IS
  'Goes on to the next occurrence without a plan from a replica. Internal; the caller holds the row''s lock.';

-- The same occurrence again, from p_due_at on.
CREATE FUNCTION sexton.give_back(p_job bigint, p_due_at timestamptz, p_attempt int) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.job SET
    state = 'idle', version = version + 1, run_id = NULL, replica_id = NULL, holder = NULL, holder_pid = NULL,
    cancel_requested_at = NULL, cancel_requested_by = NULL, due_at = p_due_at, attempt = p_attempt
  WHERE id = p_job $$;
COMMENT ON FUNCTION sexton.give_back(bigint, timestamptz, int) IS
  'Gives a job back, idle, its occurrence still to be done. Internal; the caller holds the row''s lock.';

-- By the history: a run that was killed or released gives its attempt back.
CREATE FUNCTION sexton.is_begun(j sexton.job) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT j.attempt > 0 OR EXISTS (SELECT 1 FROM sexton.run r WHERE r.job_id = j.id AND r.occurrence = j.occurrence) $$;
COMMENT ON FUNCTION sexton.is_begun(sexton.job) IS
  'Whether a run began the present occurrence: then it is finished, and not passed over as too late or in the way. Internal.';

CREATE FUNCTION sexton.put_notice(p_event text, j sexton.job, p_run uuid, p_payload jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- What happens with every run is written only where somebody wants to hear of it.
  IF p_event IN ('started', 'succeeded') AND sexton.channels_for(p_event, j) = '{}' THEN
    RETURN;
  END IF;
  INSERT INTO sexton.notice (event, job_id, job_name, app, run_id, payload)
    VALUES (p_event, j.id, j.name, j.app, p_run, jsonb_strip_nulls(coalesce((
      SELECT jsonb_build_object('kind', r.kind, 'mode', r.mode, 'origin', r.origin, 'occurrence', r.occurrence,
               'attempt', r.attempt, 'attempts', j.max_attempts, 'started_at', r.started_at, 'finished_at', r.finished_at,
               'batches', r.batches, 'rows', r.rows_done, 'holder', r.holder)
        FROM sexton.run r WHERE r.id = p_run AND p_event <> 'changed'), '{}') || p_payload));
END $$;
COMMENT ON FUNCTION sexton.put_notice(text, sexton.job, uuid, jsonb) IS
  'Writes a notice; the trigger on its table puts it on its way. Internal. j is NULL where it is about the whole installation.';

-- What an occurrence that ended for good means for the row of failures, and for those who should hear of it.
CREATE FUNCTION sexton.count_outcome(j sexton.job, p_run uuid, p_outcome text, p_error text, p_report jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  failed boolean := p_outcome IN ('failed', 'timed_out', 'lost');
  failures int := j.failure_count + 1;
  said jsonb := jsonb_build_object('outcome', p_outcome, 'error', p_error, 'report', p_report);
  -- Who calls others does not call them for ever in vain.
  pause_after int := coalesce(j.pause_after, CASE j.kind WHEN 'http' THEN 5 END);
BEGIN
  -- What comes of its one-offs is a job's own success or failure.
  IF j.parent_id IS NOT NULL THEN
    SELECT * INTO j FROM sexton.job k WHERE k.id = j.parent_id;
    failures := j.failure_count + 1;
    pause_after := coalesce(j.pause_after, pause_after);
  END IF;
  IF failed THEN
    UPDATE sexton.job SET failure_count = failures WHERE id = j.id;
    said := said || jsonb_build_object('failures', failures);
    PERFORM sexton.put_notice('failed', j, p_run, said);
    IF pause_after <= failures AND j.paused_at IS NULL THEN
      UPDATE sexton.job SET paused_at = clock_timestamp(), paused_by = 'sexton',
             pause_reason = format('%s failures in a row', failures) WHERE id = j.id;
      PERFORM sexton.put_notice('paused_itself', j, p_run, said);
    END IF;
  ELSIF p_outcome = 'succeeded' THEN
    IF j.failure_count > 0 THEN
      -- finish() holds the row, unless it failed a moment ago: then that came after this success as well as before it.
      UPDATE sexton.job SET failure_count = 0
       WHERE id = (SELECT k.id FROM sexton.job k WHERE k.id = j.id FOR NO KEY UPDATE SKIP LOCKED);
      IF FOUND THEN
        PERFORM sexton.put_notice('recovered', j, p_run, said || jsonb_build_object('failures', j.failure_count));
      END IF;
    END IF;
    PERFORM sexton.put_notice('succeeded', j, p_run, said);
  ELSIF p_outcome = 'refused' THEN
    PERFORM sexton.put_notice('refused', j, p_run, said);
  END IF;
END $$;
COMMENT ON FUNCTION sexton.count_outcome(sexton.job, uuid, text, text, jsonb) IS
  'Failures in a row, pausing itself, notices. Internal.';

CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON sexton.job
  FOR EACH ROW EXECUTE FUNCTION sexton.job_noted();
COMMENT ON TRIGGER noted ON sexton.job IS 'See sexton.job_noted().';

-- ---------------------------------------------------------------------------------------------------------
-- Who is gone
-- ---------------------------------------------------------------------------------------------------------

CREATE VIEW sexton.orphan AS
SELECT j.id, j.name, j.kind, j.lock_id, j.version, j.run_id, j.holder, j.holder_pid, j.due_at, j.priority
  FROM sexton.run r                 -- by its index of running runs: sexton.job has none on state, to keep claims HOT
  JOIN sexton.job j ON j.id = r.job_id AND j.run_id = r.id AND j.state = 'running'
 WHERE r.state = 'running'
   AND NOT EXISTS (   -- not sexton.lock_holder(): pg_locks is read once here, not once a row
     SELECT 1 FROM pg_catalog.pg_locks l, sexton.meta m
      WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.mode = 'ExclusiveLock'
        AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
        AND l.classid = m.lock_class::oid AND l.objid = j.lock_id::oid AND l.pid = j.holder_pid);
COMMENT ON VIEW sexton.orphan IS
  'Jobs whose run is running in the table while its session is gone. Compares the backend, so that a stranger who took the key cannot pass for a live holder.';

-- ---------------------------------------------------------------------------------------------------------
-- Claim
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.claim(
  p_job bigint, p_version bigint, p_revision bigint, p_run uuid, p_replica uuid, p_holder text, p_program text,
  p_destructive boolean, p_outside boolean,
  OUT result text, OUT reason text, OUT version bigint, OUT epoch bigint, OUT occurrence timestamptz, OUT attempt int,
  OUT revision bigint, OUT mode text, OUT parts jsonb, OUT approved_rows bigint, OUT claimed_at timestamptz,
  OUT worker_lock_id int, OUT resources jsonb, OUT run_options jsonb, OUT run_inputs jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m sexton.meta;
  j sexton.job;
  before uuid;
  paused boolean;
  barred text;
  held jsonb := '[]';
BEGIN
  -- A claim must not be lost by a crash of the server, even where the role runs with synchronous_commit = off
  -- (measured on the prototype: it was). A SET clause of the function would be undone before COMMIT.
  PERFORM set_config('synchronous_commit', 'on', true);
  result := 'lost';
  SELECT * INTO STRICT m FROM sexton.meta FOR SHARE;   -- pause_all and adopt are barriers for claims too
  PERFORM sexton.lock_parent(p_job);                   -- before the row, as edits lock them in this order
  SELECT * INTO j FROM sexton.job k WHERE k.id = p_job FOR NO KEY UPDATE;
  paused := j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > clock_timestamp());
  mode := CASE WHEN (j.run_options ->> 'dry_run')::boolean THEN 'dry'
               WHEN p_destructive AND j.armed_revision IS DISTINCT FROM j.revision THEN 'dry'
               ELSE 'real' END;
  barred := CASE
    WHEN mode = 'real' AND p_destructive AND m.halted_at IS NOT NULL THEN 'halted'
    WHEN mode = 'real' AND (p_destructive OR p_outside) AND m.adopt_needed_at IS NOT NULL THEN 'adopt_needed'
    WHEN paused THEN 'paused' END;

  IF j.id IS NULL OR j.version <> p_version THEN
    reason := 'another was first';
    RETURN;
  ELSIF j.revision <> p_revision THEN
    reason := 'it was edited meanwhile';   -- the replica would work by params that it read before the edit
    RETURN;
  ELSIF j.state = 'idle' AND (j.due_at IS NULL OR j.due_at > clock_timestamp()) THEN
    reason := 'not due';
    RETURN;
  ELSIF j.invalid_reason IS NOT NULL OR j.validated_revision IS DISTINCT FROM j.revision THEN
    IF j.state = 'idle' THEN
      reason := 'not validated';
      RETURN;
    END IF;
    barred := 'not validated';
  ELSIF j.state = 'idle' AND barred IS NOT NULL THEN
    reason := barred;
    RETURN;
  END IF;
  IF sexton.lock_holder(j.lock_id) IS DISTINCT FROM pg_backend_pid() THEN
    RAISE EXCEPTION 'job %: claim without holding its lock on this backend', j.name
      USING ERRCODE = 'SX003', HINT = 'A transaction pooler stands in between: connect to PostgreSQL directly.';
  END IF;
  -- The old holder is gone, but worker sessions of its run may not be. They hold this key shared. Taken for this
  -- transaction alone, so that workers of the new run can share it as soon as the claim is visible.
  IF NOT pg_try_advisory_xact_lock(m.lock_class, j.worker_lock_id) THEN
    reason := 'a worker session of its last run is still there';
    RETURN;
  END IF;

  -- Places of one-offs, and resources: what is not free bars the job, and nothing of it stays taken.
  IF barred IS NULL THEN
    SELECT b.held, b.barred INTO held, barred FROM sexton.take_for(j, mode) b;
    IF barred IS NOT NULL AND j.state = 'idle' THEN
      result := CASE WHEN sexton.skip_held(j, barred) THEN 'settled' ELSE 'lost' END; reason := barred;
      RETURN;
    END IF;
  END IF;

  IF j.state = 'running' THEN
    -- We hold the lock, hence the old session is gone: recovery and claim are one step.
    IF j.cancel_requested_at IS NOT NULL THEN
      PERFORM sexton.settle_run(j.run_id, 'cancelled', 'cancelled by ' || j.cancel_requested_by || '; its session had ended');
      PERFORM sexton.leave_occurrence(j);
      result := 'settled'; reason := 'cancelled';
      RETURN;
    END IF;
    PERFORM sexton.settle_run(j.run_id, 'lost', 'the session of its replica ended: ' || j.holder);
    IF j.attempt >= j.max_attempts THEN
      PERFORM sexton.count_outcome(j, j.run_id, 'lost', format('lost in each of %s attempts', j.attempt), NULL);
      PERFORM sexton.leave_occurrence(j);
      result := 'settled'; reason := 'attempts used up';
      RETURN;
    END IF;
    IF barred IS NOT NULL THEN
      PERFORM sexton.give_back(p_job, clock_timestamp(), j.attempt);
      result := 'settled'; reason := barred;
      RETURN;
    END IF;
  END IF;

  -- A cursor (and the cutoff in it) is inherited only by a run that does the very same thing.
  SELECT r.id INTO before FROM sexton.run r
   WHERE r.job_id = p_job AND r.occurrence = j.occurrence AND r.revision = j.revision AND r.mode = claim.mode
     AND r.options = j.run_options AND r.inputs = j.run_inputs
   ORDER BY r.epoch DESC, r.version DESC LIMIT 1;
  UPDATE sexton.job k SET
    state = 'running', version = j.version + 1, attempt = j.attempt + 1, run_id = p_run, replica_id = p_replica,
    holder = p_holder, holder_pid = pg_backend_pid(), missed_count = 0, pending_key = NULL,
    paused_at = NULL, paused_by = NULL, pause_reason = NULL, paused_until = NULL
  WHERE k.id = p_job;
  INSERT INTO sexton.run (id, job_id, job_name, kind, occurrence, origin, attempt, epoch, version, revision, mode,
                          destructive, params, options, inputs, replica_id, holder, backend_pid, program, resources, parent_id, state, coalesced)
    VALUES (p_run, p_job, j.name, j.kind, j.occurrence, j.origin, j.attempt + 1, m.epoch, j.version + 1, j.revision, mode,
            p_destructive, j.params, j.run_options, j.run_inputs, p_replica, p_holder, pg_backend_pid(), p_program,
            held, j.parent_id, 'running', j.missed_count);
  INSERT INTO sexton.run_part (run_id, part, cursor)
    SELECT p_run, 0, NULL WHERE before IS NULL
    UNION ALL
    SELECT p_run, p.part, p.cursor FROM sexton.run_part p WHERE p.run_id = before;
  PERFORM sexton.put_notice('started', j, p_run, '{}');
  PERFORM sexton.wake(p_job);

  result := 'won';
  version := j.version + 1;
  epoch := m.epoch;
  occurrence := j.occurrence;
  attempt := j.attempt + 1;
  revision := j.revision;
  approved_rows := j.approved_rows;
  claimed_at := clock_timestamp();
  worker_lock_id := j.worker_lock_id;
  resources := held;
  run_options := j.run_options;
  run_inputs := j.run_inputs;
  SELECT jsonb_object_agg(p.part, p.cursor) INTO parts FROM sexton.run_part p WHERE p.run_id = p_run;
END $$;
COMMENT ON FUNCTION sexton.claim(bigint, bigint, bigint, uuid, uuid, text, text, boolean, boolean) IS
  'Takes a due or orphaned job. The caller''s session already holds its advisory lock. result: won; settled (an orphan was put in order, and nothing started); lost, with the reason.';

-- ---------------------------------------------------------------------------------------------------------
-- Workers
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.split(p_job bigint, p_version bigint, p_run uuid, p_cursors jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r sexton.run;
BEGIN
  r := sexton.held_run(p_job, p_version, p_run);
  IF jsonb_array_length(p_cursors) NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'job %: a run has 1 to 1000 parts, and not %', r.job_name, jsonb_array_length(p_cursors) USING ERRCODE = 'SX002';
  ELSIF EXISTS (SELECT 1 FROM sexton.run_part WHERE run_id = p_run AND part > 0) THEN
    RAISE EXCEPTION 'job %: run % is split already', r.job_name, p_run USING ERRCODE = 'SX002';
  END IF;
  -- It need not wait for the disk: a crash that undoes it undoes all that was committed after it.
  PERFORM set_config('synchronous_commit', 'off', true);
  INSERT INTO sexton.run_part (run_id, part, cursor)
    SELECT p_run, c.ordinality, c.value FROM jsonb_array_elements(p_cursors) WITH ORDINALITY c;
END $$;
COMMENT ON FUNCTION sexton.split(bigint, bigint, uuid, jsonb) IS
  'Gives a run parts, numbered from 1, each with the cursor to begin at: an array of them. Once for an occurrence; the next attempt inherits them.';

-- The order matters: the key first, then the question. A claim that came before the key is seen; one that comes after
-- it finds the key taken. Each statement of a volatile function sees what was committed when it began.
CREATE FUNCTION sexton.join_run(p_job bigint, p_version bigint, p_run uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  class int := (SELECT lock_class FROM sexton.meta);
  key int := (SELECT worker_lock_id FROM sexton.job WHERE id = p_job);
  stop text;
BEGIN
  IF key IS NULL THEN
    RETURN 'gone';
  ELSIF NOT pg_try_advisory_lock_shared(class, key) THEN
    RETURN 'superseded';   -- a claim is on its way
  END IF;
  stop := sexton.ping(p_job, p_version, p_run);
  IF stop IS NOT NULL THEN
    PERFORM pg_advisory_unlock_shared(class, key);
  ELSE
    -- Nor need this, for which the next worker waits: no session outlives a crash of the server.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE sexton.run SET worker_pids = worker_pids || pg_backend_pid() WHERE id = p_run AND state = 'running';
  END IF;
  RETURN stop;
END $$;
COMMENT ON FUNCTION sexton.join_run(bigint, bigint, uuid) IS
  'Makes this session a worker of a run: it holds the job''s worker key shared from now on, so that no claim succeeds before it is closed. NULL, or why the run must stop; then it holds nothing.';

-- ---------------------------------------------------------------------------------------------------------
-- Fence
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.fence(
  p_job bigint, p_version bigint, p_run uuid, p_part int, p_seq bigint, p_rows bigint, p_cursor jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  r sexton.run;
  stop text;
BEGIN
  -- The session's lock_timeout is for the application's rows. An operator's open transaction is waited for longer, but
  -- not for ever: our own row locks wait with us.
  PERFORM set_config('lock_timeout', '2s', true);
  -- FOR SHARE conflicts with every UPDATE of the row and so orders us against claim, kill, pause and edit.
  -- FOR KEY SHARE or a plain SELECT would not, at any isolation level (measured on the prototype). In READ
  -- COMMITTED the row is read again after waiting; in the stricter levels the wait ends in 40001.
  SELECT * INTO j FROM sexton.job WHERE id = p_job FOR SHARE;
  SELECT * INTO r FROM sexton.run WHERE id = p_run;
  -- halted_at is read by a statement of its own, after the lock: pause_all() touches every running row, so a
  -- fence that waited for it must not judge by the snapshot from before.
  stop := sexton.stop_reason(j, r, p_version, (SELECT halted_at FROM sexton.meta));
  IF stop IS NOT NULL THEN
    RAISE EXCEPTION 'fenced: run % no longer holds job % at version %', p_run, coalesce(j.name, p_job::text), p_version
      USING ERRCODE = 'SX001', DETAIL = stop;
  END IF;
  UPDATE sexton.run_part SET seq = seq + 1, rows = rows + p_rows, cursor = p_cursor, moved_at = clock_timestamp()
   WHERE run_id = p_run AND part = p_part AND seq = p_seq;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'job %: batch % of part % does not follow the last one that committed', j.name, p_seq, p_part
      USING ERRCODE = 'SX004';
  END IF;
END $$;
COMMENT ON FUNCTION sexton.fence(bigint, bigint, uuid, int, bigint, bigint, jsonb) IS
  'The last statement of every batch: commits its progress with its effect, or raises and takes the effect back. p_seq is the number of batches that committed before in this part.';

-- The fence's question, for what is no batch. The fence itself does not call this: it is to be read in one place.
CREATE FUNCTION sexton.held_run(p_job bigint, p_version bigint, p_run uuid) RETURNS sexton.run
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  r sexton.run;
  stop text;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  SELECT * INTO j FROM sexton.job WHERE id = p_job FOR SHARE;   -- as the fence does, and for its reasons
  SELECT * INTO r FROM sexton.run WHERE id = p_run;
  stop := sexton.stop_reason(j, r, p_version, (SELECT halted_at FROM sexton.meta));
  IF stop IS NOT NULL THEN
    RAISE EXCEPTION 'fenced: run % no longer holds job % at version %', p_run, coalesce(j.name, p_job::text), p_version
      USING ERRCODE = 'SX001', DETAIL = stop;
  END IF;
  RETURN r;
END $$;
COMMENT ON FUNCTION sexton.held_run(bigint, bigint, uuid) IS
  'Share-locks the job''s row and gives the run, if that still holds the job; raises as the fence does if not. Internal.';

-- The other database is the truth about what committed there: it may know of one batch more than we do, whose holder died
-- between the two commits.
CREATE FUNCTION sexton.catch_up(
  p_job bigint, p_version bigint, p_run uuid, p_of uuid, p_seq bigint, p_rows bigint, p_cursor jsonb,
  OUT same boolean, OUT news boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r sexton.run;
  past sexton.run;
BEGIN
  r := sexton.held_run(p_job, p_version, p_run);
  SELECT * INTO past FROM sexton.run k WHERE k.id = p_of AND k.job_id = p_job;
  same := coalesce((past.occurrence, past.revision, past.mode, past.options, past.inputs)
                   = (r.occurrence, r.revision, r.mode, r.options, r.inputs), false);
  UPDATE sexton.run_part SET seq = p_seq, rows = rows + p_rows, cursor = p_cursor, moved_at = clock_timestamp()
   WHERE run_id = past.id AND part = 0 AND seq < p_seq;
  news := FOUND AND same AND NOT EXISTS (
    SELECT FROM sexton.run k JOIN sexton.run_part p ON p.run_id = k.id
     WHERE k.job_id = p_job AND (k.epoch, k.version) > (past.epoch, past.version) AND p.seq > 0);
  IF FOUND THEN
    UPDATE sexton.run SET batches = p_seq, rows_done = rows_done + p_rows WHERE id = past.id AND state <> 'running';
  END IF;
  IF news THEN
    UPDATE sexton.run_part SET cursor = p_cursor WHERE run_id = p_run AND part = 0;
  END IF;
END $$;
COMMENT ON FUNCTION sexton.catch_up(bigint, bigint, uuid, uuid, bigint, bigint, jsonb) IS
  'Records a batch of an earlier run that committed in another database and was not recorded. same: that run did what the present one does (occurrence, revision, mode, options, inputs); news: the batch was not recorded, and nothing else has committed since.';

CREATE FUNCTION sexton.ping(p_job bigint, p_version bigint, p_run uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT sexton.stop_reason(j, r, p_version, (SELECT halted_at FROM sexton.meta))
    FROM (SELECT 1) one
    LEFT JOIN sexton.job j ON j.id = p_job
    LEFT JOIN sexton.run r ON r.id = p_run $$;
COMMENT ON FUNCTION sexton.ping(bigint, bigint, uuid) IS
  'Why the run must stop, NULL if it need not. Sent from the run session, it also keeps that session alive.';

CREATE FUNCTION sexton.note_progress(p_run uuid, p_progress jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.run SET progress = p_progress WHERE id = p_run AND state = 'running' $$;
COMMENT ON FUNCTION sexton.note_progress(uuid, jsonb) IS 'What a run says of itself on the way; for people, not for the protocol.';

-- What a run notes of its own changes, called within the batch that makes them, so that both commit or neither.
CREATE FUNCTION sexton.note_changes(p_run uuid, p_changes jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH noted AS (
    INSERT INTO sexton.audit (actor, verb, job_id, job_name, run_id, owner, detail)
    SELECT sexton.actor(), 'change', r.job_id, r.job_name, r.id, c.change ->> 'owner', c.change - 'owner'
      FROM sexton.run r CROSS JOIN LATERAL jsonb_array_elements(p_changes) WITH ORDINALITY AS c(change, ord)
     WHERE r.id = p_run AND r.state = 'running'
     ORDER BY c.ord
    RETURNING 1)
  SELECT count(*) FROM noted $$;
COMMENT ON FUNCTION sexton.note_changes(uuid, jsonb) IS
  'Writes an audit row for each change of a running run: objects with table, key, removed, and owner where one is to be told. Returns how many.';

-- Called within the batch that it belongs to, so that both commit or neither.
CREATE FUNCTION sexton.note_deferred(p_run uuid, p_rows jsonb, p_done text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM sexton.deferred d USING sexton.run r
   WHERE r.id = p_run AND r.state = 'running' AND d.job_id = r.job_id AND d.row_key = ANY (p_done);
  INSERT INTO sexton.deferred AS d (job_id, row_key, run_id, class, target, attempts, next_try, error)
  SELECT r.job_id, n.row_key, r.id, n.class, n.target, n.attempts, n.next_try, n.error
    FROM sexton.run r
   CROSS JOIN LATERAL jsonb_to_recordset(p_rows)
              AS n(row_key text, class text, target text, attempts int, next_try timestamptz, error text)
   WHERE r.id = p_run AND r.state = 'running'
   ORDER BY n.row_key
  ON CONFLICT (job_id, row_key) DO UPDATE
     SET run_id = excluded.run_id, class = excluded.class, target = excluded.target, attempts = excluded.attempts,
         last_at = excluded.last_at, next_try = excluded.next_try, error = excluded.error $$;
COMMENT ON FUNCTION sexton.note_deferred(uuid, jsonb, text[]) IS
  'Notes the rows that a running run leaves for later, and forgets those that are done with.';

CREATE FUNCTION sexton.note_owner(p_run uuid, p_owner text, p_recipients jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  told bigint[];
BEGIN
  SELECT k.* INTO j FROM sexton.job k WHERE k.run_id = p_run AND k.state = 'running';
  WITH due AS (
    UPDATE sexton.audit a SET noticed_at = clock_timestamp()
     WHERE a.job_id = j.id AND a.owner = p_owner AND a.noticed_at IS NULL RETURNING a.id)
  SELECT array_agg(id ORDER BY id) INTO told FROM due;
  IF told IS NULL THEN
    RETURN false;
  END IF;
  PERFORM sexton.put_notice('changed', j, p_run, jsonb_build_object(
    'owner', p_owner, 'recipients', coalesce(p_recipients, '[]'), 'rows', cardinality(told),
    'text', (SELECT format('References that dangled or had expired were removed from %s of %s.',
                           CASE cardinality(told) WHEN 1 THEN '1 row' ELSE cardinality(told) || ' rows' END,
                           string_agg(DISTINCT a.detail ->> 'table', ', '))
               FROM sexton.audit a WHERE a.id = ANY (told)),
    'changes', (SELECT jsonb_agg(a.detail ORDER BY a.id) FROM sexton.audit a WHERE a.id = ANY (told[:100]))));
  RETURN true;
END $$;
COMMENT ON FUNCTION sexton.note_owner(uuid, text, jsonb) IS
  'Writes one notice to an owner about all changes of a job that he or she was not told of, with the first hundred of them. False if there are none.';

-- ---------------------------------------------------------------------------------------------------------
-- Finish
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.finish(
  p_job bigint, p_version bigint, p_run uuid, p_outcome text, p_error text, p_report jsonb, p_batches bigint, p_retry_after interval,
  p_schedule text, p_time_zone text, p_scheduled_at timestamptz, p_due_at timestamptz, p_coalesced bigint,
  p_resume_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  again boolean;
  same_schedule boolean;
  used_approval boolean;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM set_config('lock_timeout', '10s', true);   -- holding nothing, an operator's transaction is waited for
  IF p_outcome NOT IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'superseded', 'released', 'refused') THEN
    RAISE EXCEPTION 'finish: "%" is no outcome that a holder can give', p_outcome USING ERRCODE = 'SX002';
  END IF;
  -- Most ends of one-offs change nothing of their job: those need not queue for its row.
  IF p_outcome IN ('failed', 'timed_out') OR p_outcome = 'succeeded' AND EXISTS (
       SELECT FROM sexton.job k JOIN sexton.job p ON p.id = k.parent_id WHERE k.id = p_job AND p.failure_count > 0) THEN
    PERFORM sexton.lock_parent(p_job);
  END IF;
  SELECT * INTO j FROM sexton.job
   WHERE id = p_job AND version = p_version AND run_id = p_run AND state = 'running' FOR NO KEY UPDATE;
  -- A cancel is for the occurrence: it must not be lost because the run would have come back.
  IF j.cancel_requested_at IS NOT NULL AND p_outcome IN ('failed', 'timed_out', 'superseded', 'released') THEN
    p_outcome := 'cancelled';
    p_error := concat_ws('; ', 'cancelled by ' || j.cancel_requested_by, p_error);
  END IF;
  IF j.id IS NULL OR sexton.settle_run(p_run, p_outcome, p_error, p_report) IS NULL THEN
    RAISE EXCEPTION 'fenced: run % no longer holds job % at version %', p_run, p_job, p_version
      USING ERRCODE = 'SX001', DETAIL = 'superseded';
  END IF;
  -- Nor is the caller's word enough that all is done: a batch that it believes in may have been rolled back, or lost
  -- with a failover.
  IF p_outcome = 'succeeded' AND p_batches <> (SELECT batches FROM sexton.run WHERE id = p_run) THEN
    RAISE EXCEPTION 'job %: % batches committed, and not the % that its holder counted', j.name,
      (SELECT batches FROM sexton.run WHERE id = p_run), p_batches USING ERRCODE = 'SX004';
  END IF;

  -- Neither was the run's fault: the attempt is given back.
  IF p_outcome IN ('superseded', 'released') THEN
    PERFORM sexton.give_back(p_job, clock_timestamp() + p_retry_after, j.attempt - 1);
    PERFORM sexton.wake(p_job);
    RETURN clock_timestamp() + p_retry_after;
  END IF;
  again := p_outcome IN ('failed', 'timed_out') AND j.attempt < j.max_attempts;
  IF again THEN
    PERFORM sexton.give_back(p_job, clock_timestamp() + p_retry_after, j.attempt);
    RETURN clock_timestamp() + p_retry_after;
  END IF;

  PERFORM sexton.count_outcome(j, p_run, p_outcome, p_error, p_report);
  used_approval := j.approved_rows IS NOT NULL AND p_outcome <> 'refused'
                   AND EXISTS (SELECT 1 FROM sexton.run WHERE id = p_run AND mode = 'real');
  -- The caller's plan counts if the schedule that it was made from still stands; else that of whoever planned
  -- the new one, or nobody's yet.
  same_schedule := (p_schedule, p_time_zone) IS NOT DISTINCT FROM (j.schedule, j.time_zone);
  IF NOT (j.planned AND same_schedule) THEN
    p_scheduled_at := j.scheduled_at;
    p_due_at := NULL;
    p_coalesced := 0;
  ELSIF p_scheduled_at <= greatest(j.last_scheduled_at, CASE WHEN j.origin = 'schedule' THEN j.occurrence END) THEN
    RAISE EXCEPTION 'job %: the next occurrence must be later than the last', j.name USING ERRCODE = 'SX002';
  END IF;
  PERFORM sexton.advance(p_job, j.planned, p_scheduled_at, p_due_at, p_resume_at);
  UPDATE sexton.job SET
    missed_count = missed_count + p_coalesced,
    approved_rows = CASE WHEN used_approval THEN NULL ELSE approved_rows END,
    approved_by = CASE WHEN used_approval THEN NULL ELSE approved_by END
  WHERE id = p_job;
  RETURN (SELECT due_at FROM sexton.job WHERE id = p_job);
END $$;
COMMENT ON FUNCTION sexton.finish(bigint, bigint, uuid, text, text, jsonb, bigint, interval, text, text, timestamptz, timestamptz, bigint, timestamptz) IS
  'Ends a run: outcome, history and the next occurrence in one transaction. p_batches is how many the caller knows of. It planned the next occurrence from p_schedule and p_time_zone. Returns when the job is due next, NULL if never or not yet planned.';

-- ---------------------------------------------------------------------------------------------------------
-- Planning, which replicas do, since time zones and cron are theirs
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.plan(
  p_job bigint, p_revision bigint, p_schedule text, p_time_zone text,
  p_scheduled_at timestamptz, p_due_at timestamptz, p_coalesced bigint, p_needs text[] DEFAULT '{}') RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
BEGIN
  SELECT * INTO j FROM sexton.job WHERE id = p_job FOR NO KEY UPDATE;
  IF NOT FOUND OR j.planned OR (j.revision, j.schedule, j.time_zone) IS DISTINCT FROM (p_revision, p_schedule, p_time_zone) THEN
    RETURN false;
  END IF;
  IF p_scheduled_at <= j.last_scheduled_at THEN
    RAISE EXCEPTION 'job %: the next occurrence must be later than the last', j.name USING ERRCODE = 'SX002';
  END IF;
  UPDATE sexton.job SET
    planned = true, scheduled_at = p_scheduled_at, plan_from = NULL, validated_revision = p_revision, invalid_reason = NULL,
    needs = p_needs, missed_count = missed_count + p_coalesced,
    occurrence = CASE WHEN occurrence IS NULL THEN p_scheduled_at ELSE occurrence END,
    origin = CASE WHEN occurrence IS NULL AND p_scheduled_at IS NOT NULL THEN 'schedule' ELSE origin END,
    due_at = CASE WHEN occurrence IS NULL THEN coalesce(p_due_at, p_scheduled_at) ELSE due_at END
  WHERE id = p_job;
  RETURN true;
END $$;
COMMENT ON FUNCTION sexton.plan(bigint, bigint, text, text, timestamptz, timestamptz, bigint, text[]) IS
  'Stores the next regular instant of a job that has none planned, that its definition is valid, and what it needs of a replica. False if the row changed meanwhile. NULL as p_scheduled_at: never again by itself.';

CREATE FUNCTION sexton.skip(
  p_job bigint, p_version bigint, p_schedule text, p_time_zone text,
  p_scheduled_at timestamptz, p_due_at timestamptz, p_coalesced bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
BEGIN
  SELECT * INTO j FROM sexton.job WHERE id = p_job FOR NO KEY UPDATE;
  IF NOT FOUND OR j.version <> p_version OR j.state <> 'idle' OR NOT j.planned OR j.origin IS DISTINCT FROM 'schedule'
     OR sexton.is_begun(j) OR (j.schedule, j.time_zone) IS DISTINCT FROM (p_schedule, p_time_zone) THEN
    RETURN false;
  END IF;
  IF p_scheduled_at <= j.occurrence THEN
    RAISE EXCEPTION 'job %: the next occurrence must be later than the last', j.name USING ERRCODE = 'SX002';
  END IF;
  UPDATE sexton.job SET
    version = version + 1, scheduled_at = p_scheduled_at, last_scheduled_at = j.occurrence,
    occurrence = p_scheduled_at, origin = CASE WHEN p_scheduled_at IS NOT NULL THEN 'schedule' END,
    due_at = coalesce(p_due_at, p_scheduled_at), missed_count = missed_count + p_coalesced
  WHERE id = p_job;
  RETURN true;
END $$;
COMMENT ON FUNCTION sexton.skip(bigint, bigint, text, text, timestamptz, timestamptz, bigint) IS
  'Passes over an occurrence that is later than max_lateness: it is counted, with the others that passed, in missed_count.';

CREATE FUNCTION sexton.accept(p_job bigint, p_revision bigint, p_needs text[] DEFAULT '{}') RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.job SET validated_revision = p_revision, invalid_reason = NULL, needs = p_needs
   WHERE id = p_job AND revision = p_revision AND validated_revision IS DISTINCT FROM p_revision
  RETURNING true $$;
COMMENT ON FUNCTION sexton.accept(bigint, bigint, text[]) IS 'A replica found this revision valid, and read from it what it needs of a replica.';

CREATE FUNCTION sexton.reject(p_job bigint, p_revision bigint, p_schedule text, p_time_zone text, p_reason text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.job SET invalid_reason = p_reason
   WHERE id = p_job AND revision = p_revision AND (schedule, time_zone) = (p_schedule, p_time_zone)
     AND invalid_reason IS DISTINCT FROM p_reason
  RETURNING true $$;
COMMENT ON FUNCTION sexton.reject(bigint, bigint, text, text, text) IS
  'A replica found the schedule or the params invalid: the job is not claimed until it is edited.';

-- ---------------------------------------------------------------------------------------------------------
-- Replicas, resources, incarnation, history
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.replica_start(
  p_replica uuid, p_name text, p_program text, p_slots int, p_kinds text[], p_deploy text, p_knows text[],
  OUT lock_class int, OUT lock_id int, OUT locked boolean, OUT alone boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fresh boolean;
BEGIN
  -- Two that start together must not both think that they are alone.
  SELECT m.lock_class INTO STRICT lock_class FROM sexton.meta m FOR NO KEY UPDATE;
  alone := NOT EXISTS (SELECT 1 FROM sexton.replica r WHERE r.id <> p_replica AND sexton.lock_holder(r.lock_id) IS NOT NULL);
  fresh := NOT EXISTS (SELECT 1 FROM sexton.replica r WHERE r.id = p_replica);
  INSERT INTO sexton.replica AS r (id, name, program, slots, kinds, knows)
    VALUES (p_replica, p_name, p_program, p_slots, p_kinds, p_knows)
    ON CONFLICT (id) DO UPDATE SET slots = excluded.slots, kinds = excluded.kinds, knows = excluded.knows
    RETURNING r.lock_id INTO lock_id;
  locked := pg_try_advisory_lock(lock_class, lock_id);
  -- The two exceptions to "never fires at once". A reconnect is no start.
  UPDATE sexton.job j SET occurrence = clock_timestamp(), due_at = clock_timestamp(), attempt = 0, origin = 'start'
   WHERE fresh AND alone AND j.schedule ~* '^\s*at\s+start\M' AND j.state = 'idle' AND j.attempt = 0
     AND (j.due_at IS NULL OR j.due_at > clock_timestamp());
  UPDATE sexton.job j SET deploys = (j.deploys || p_deploy)[greatest(cardinality(j.deploys) - 8, 1):],
         occurrence = clock_timestamp(), due_at = clock_timestamp(), attempt = 0, origin = 'deploy'
   WHERE fresh AND p_deploy IS NOT NULL AND NOT p_deploy = ANY (j.deploys)
     AND j.schedule ~* '^\s*at\s+deploy\M' AND j.state = 'idle' AND j.attempt = 0
     AND (j.due_at IS NULL OR j.due_at > clock_timestamp());
  DELETE FROM sexton.replica r WHERE fresh AND r.id <> p_replica AND r.started_at < clock_timestamp() - interval '1 day'
     AND sexton.lock_holder(r.lock_id) IS NULL;
END $$;
COMMENT ON FUNCTION sexton.replica_start(uuid, text, text, int, text[], text, text[]) IS
  'Registers a replica and takes its lock on this session; makes jobs "at start" (if no other replica is alive) and "at deploy" (if p_deploy is new to them) due. Called again with the same uuid after a reconnect, it only takes the lock.';

CREATE FUNCTION sexton.replica_knows(p_replica uuid, p_knows text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.replica SET knows = p_knows WHERE id = p_replica $$;
COMMENT ON FUNCTION sexton.replica_knows(uuid, text[]) IS 'A replica read its local file again: the names that it knows now.';

-- Names are equal, save that a host may be known by a pattern: host:*.example.com, host:*.
CREATE FUNCTION sexton.lacks(p_needs text[], p_knows text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(n ORDER BY n), '{}') FROM unnest(p_needs) n
   WHERE NOT EXISTS (SELECT 1 FROM unnest(p_knows) k
                      WHERE k = n OR (n LIKE 'host:%' AND (k = 'host:*' OR
                            (k LIKE 'host:*.%' AND length(n) > length(k) - 1 AND right(n, length(k) - 6) = substr(k, 7))))) $$;
COMMENT ON FUNCTION sexton.lacks(text[], text[]) IS 'Which of these needs a replica that knows these names does not meet. Internal.';

CREATE FUNCTION sexton.note_resources(p_run uuid, p_resources jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  UPDATE sexton.run SET resources = p_resources WHERE id = p_run AND state = 'running' $$;
COMMENT ON FUNCTION sexton.note_resources(uuid, jsonb) IS 'Which resources a run holds now: a lost run''s row still says which they were.';

CREATE FUNCTION sexton.observe(OUT readable boolean, OUT changed text, OUT epoch bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m sexton.meta;
  seen_identifier bigint;
  seen_timeline int;
BEGIN
  readable := true;
  BEGIN
    SELECT c.system_identifier INTO seen_identifier FROM pg_control_system() c;
    -- Not from pg_control_checkpoint(): that still names the old timeline right after a promotion (measured).
    seen_timeline := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int;
  EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
    readable := false;
  END;
  SELECT * INTO STRICT m FROM sexton.meta;
  epoch := m.epoch;
  IF NOT readable OR (m.system_identifier, m.timeline) IS NOT DISTINCT FROM (seen_identifier, seen_timeline) THEN
    RETURN;
  END IF;
  SELECT * INTO STRICT m FROM sexton.meta FOR NO KEY UPDATE;
  IF (m.system_identifier, m.timeline) IS DISTINCT FROM (seen_identifier, seen_timeline) THEN
    changed := CASE WHEN m.system_identifier IS NULL THEN 'first'
                    WHEN m.system_identifier <> seen_identifier THEN 'system' ELSE 'timeline' END;
    -- Seconds since 1970 at the least, so that a dump that is restored twice never uses an epoch twice.
    UPDATE sexton.meta SET system_identifier = seen_identifier, timeline = seen_timeline,
      epoch = CASE changed WHEN 'first' THEN m.epoch
                           ELSE greatest(m.epoch + 1, extract(epoch FROM clock_timestamp())::bigint) END,
      adopt_needed_at = CASE changed WHEN 'system' THEN clock_timestamp() ELSE m.adopt_needed_at END
      RETURNING meta.epoch INTO epoch;
    IF changed = 'system' THEN
      PERFORM sexton.put_notice('adopt_needed', NULL, NULL, jsonb_build_object('system_identifier', seen_identifier::text));
    END IF;
  END IF;
END $$;
COMMENT ON FUNCTION sexton.observe() IS
  'Looks whether this is still the database that it was. A new timeline (failover, point-in-time recovery) raises the epoch; a new system identifier (restored dump, clone, pg_upgrade) also makes destructive and outside kinds wait for adopt(). readable is false where the server does not let us look.';

CREATE FUNCTION sexton.prune(p_job bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m sexton.meta;
  this sexton.job;
  pruned bigint;
BEGIN
  SELECT * INTO this FROM sexton.job WHERE id = p_job;
  -- A one-off that is gone. Counting thousands is not worth it for each of thousands.
  IF NOT FOUND AND p_job % 16 <> 0 THEN
    RETURN 0;
  END IF;
  SELECT * INTO STRICT m FROM sexton.meta;
  -- Along the index by age, and no further than that: what is not among the oldest is for the next time.
  DELETE FROM sexton.run WHERE id IN (
    SELECT o.id FROM (
      SELECT r.id, r.epoch, r.version, r.state, r.occurrence, r.started_at FROM sexton.run r
       WHERE r.job_id = p_job ORDER BY r.epoch, r.version LIMIT 200) o
     WHERE o.state <> 'running' AND o.occurrence IS DISTINCT FROM this.occurrence
       AND (o.started_at < clock_timestamp() - coalesce(this.keep_runs_for, m.keep_runs_for)
            OR (o.epoch, o.version) < (SELECT k.epoch, k.version FROM sexton.run k WHERE k.job_id = p_job
                                       ORDER BY k.epoch DESC, k.version DESC
                                       OFFSET coalesce(this.keep_runs, m.keep_runs) - 1 LIMIT 1)));
  GET DIAGNOSTICS pruned = ROW_COUNT;
  pruned := pruned + sexton.prune_one_offs(p_job, m);
  PERFORM sexton.prune_resources();
  -- What has no job any more goes by age alone, a little at a time.
  DELETE FROM sexton.run WHERE id IN (
    SELECT r.id FROM sexton.run r WHERE r.started_at < clock_timestamp() - m.keep_runs_for AND r.state <> 'running'
       AND NOT EXISTS (SELECT 1 FROM sexton.job j WHERE j.id = r.job_id) ORDER BY r.started_at LIMIT 50);
  DELETE FROM sexton.audit WHERE id IN (
    SELECT a.id FROM sexton.audit a WHERE a.at < clock_timestamp() - interval '1 year' ORDER BY a.at LIMIT 50);
  DELETE FROM sexton.notice WHERE id IN (
    SELECT n.id FROM sexton.notice n WHERE n.at < clock_timestamp() - m.keep_runs_for ORDER BY n.at LIMIT 50);
  RETURN pruned;
END $$;
COMMENT ON FUNCTION sexton.prune(bigint) IS
  'Removes finished runs of a job beyond its keep_runs and keep_runs_for, or those of meta, at most 200 at a time, never those of its present occurrence. Returns how many.';
