-- Resources, which runs hold besides their own job, and one-offs, which are runs of a job with inputs of their own.
--
-- A resource is an advisory lock on the run's session: taken by the claim, never waited for in the server, gone with
-- the session. A one-off is a row of sexton.job like any other, so that claim, fence, kill and recovery are the same;
-- but its definition and its switches are, by construction, those of the job that it belongs to, and it is deleted when
-- it is done.

-- ---------------------------------------------------------------------------------------------------------
-- Resources
-- ---------------------------------------------------------------------------------------------------------

-- One form for what people write: an array of names, or {"name": …, "shared": true}.
CREATE FUNCTION sexton.resources_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item jsonb;
  name text;
  input text;
  names text[] := '{}';
  checked jsonb := '[]';
BEGIN
  FOR item IN SELECT value FROM jsonb_array_elements(NEW.resources) LOOP
    name := CASE jsonb_typeof(item) WHEN 'string' THEN item #>> '{}' WHEN 'object' THEN item ->> 'name' END;
    IF name IS NULL OR name !~ '\S' OR length(name) > 150
       OR jsonb_typeof(item) = 'object' AND (item - 'name' - 'shared' <> '{}'
          OR coalesce(jsonb_typeof(item -> 'shared'), 'boolean') <> 'boolean') THEN
      RAISE EXCEPTION 'job %: resources: % is no resource', NEW.name, item USING ERRCODE = 'SX006',
        HINT = 'Write a name of at most 150 characters, such as "app:42", or {"name": "backup", "shared": true}.';
    ELSIF name ~ '^table:' THEN
      RAISE EXCEPTION 'job %: resources: "%" is taken by Sexton itself', NEW.name, name USING ERRCODE = 'SX006',
        HINT = 'Jobs on one table exclude each other already, unless shares_table is true.';
    ELSIF name = ANY (names) THEN
      RAISE EXCEPTION 'job %: resources: "%" is there twice', NEW.name, name USING ERRCODE = 'SX006',
        HINT = 'Name it once, shared or not.';
    END IF;
    FOR input IN SELECT m[1] FROM regexp_matches(name, '\{([^{}]*)\}', 'g') m LOOP
      IF NOT NEW.inputs ? input THEN
        RAISE EXCEPTION 'job %: resources: "%" names an input that is not declared', NEW.name, name USING ERRCODE = 'SX006',
          HINT = format('Declare "%s" in inputs, with its type.', input);
      END IF;
    END LOOP;
    names := names || name;
    checked := checked || CASE WHEN (item ->> 'shared')::boolean
      THEN jsonb_build_array(jsonb_build_object('name', name, 'shared', true)) ELSE jsonb_build_array(name) END;
  END LOOP;
  NEW.resources := checked;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.resources_guard() IS 'Checks the resources that a job names, and brings them into one form.';
CREATE TRIGGER resources BEFORE INSERT OR UPDATE OF resources, inputs ON sexton.job
  FOR EACH ROW WHEN (NEW.parent_id IS NULL) EXECUTE FUNCTION sexton.resources_guard();
COMMENT ON TRIGGER resources ON sexton.job IS 'See sexton.resources_guard().';

CREATE VIEW sexton.resource_holder AS
SELECT r.name, l.pid, bool_and(l.mode = 'ShareLock') AS shared
  FROM pg_catalog.pg_locks l, sexton.meta m, sexton.resource r
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = m.lock_class::oid
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND l.objid = r.lock_id::oid
 GROUP BY r.name, l.pid;
COMMENT ON VIEW sexton.resource_holder IS 'Which backends hold which resources: read off the locks, so what is dead holds nothing.';

-- A hint for replicas, which then need not open a session to learn the same; the claim decides.
CREATE VIEW sexton.blocked AS
SELECT w.job_id FROM sexton.waiting w
 WHERE EXISTS (SELECT FROM sexton.resource_holder h WHERE h.name = w.resource AND NOT (h.shared AND w.shared));
COMMENT ON VIEW sexton.blocked IS 'Waiting jobs whose resource is held at this moment.';

CREATE FUNCTION sexton.held_by(p_resource text, p_shared boolean) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce('job ' || r.job_name || ' on ' || r.holder || ' since ' || r.started_at,
                  concat_ws(' ', 'backend ' || h.pid, '(' || a.usename || ', ' || a.application_name || ')', 'since ' || a.backend_start))
    FROM sexton.resource_holder h
    LEFT JOIN sexton.run r ON r.backend_pid = h.pid AND r.state = 'running'
    LEFT JOIN pg_stat_activity a ON a.pid = h.pid
   WHERE h.name = p_resource AND NOT (h.shared AND p_shared) AND h.pid <> pg_backend_pid()
   ORDER BY r.started_at LIMIT 1 $$;
COMMENT ON FUNCTION sexton.held_by(text, boolean) IS 'Who is in the way of a resource, in words; NULL: nobody. Internal.';

-- Its row stays share-locked until the end of the transaction: prune_resources() cannot delete it before the lock that
-- it stands for is taken.
CREATE FUNCTION sexton.resource_lock(p_name text) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  id int;
BEGIN
  LOOP
    SELECT lock_id INTO id FROM sexton.resource WHERE name = p_name FOR KEY SHARE;
    EXIT WHEN FOUND;
    INSERT INTO sexton.resource (name) VALUES (p_name) ON CONFLICT (name) DO NOTHING;
  END LOOP;
  RETURN id;
END $$;
COMMENT ON FUNCTION sexton.resource_lock(text) IS 'Second half of the advisory lock key of a resource, which is created if it is new. Internal.';

-- Who began to wait before us for something that excludes what we want, and could have it now: its turn is first. Else
-- jobs that share a resource, one after the other, would keep one that wants it for itself waiting for ever.
CREATE FUNCTION sexton.earlier_waiter(p_resource text, p_shared boolean, p_job bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.name
    FROM sexton.waiting w
    JOIN sexton.job k ON k.id = w.job_id
    LEFT JOIN sexton.job p ON p.id = k.parent_id
   WHERE w.resource = p_resource AND w.job_id <> p_job AND NOT (w.shared AND p_shared)
     AND w.since < coalesce((SELECT o.since FROM sexton.waiting o WHERE o.job_id = p_job), 'infinity')
     AND k.state = 'idle' AND k.due_at <= clock_timestamp() AND k.paused_at IS NULL
     AND k.invalid_reason IS NULL AND k.validated_revision = k.revision
     AND NOT EXISTS (SELECT FROM sexton.meta m WHERE m.halted_at IS NOT NULL OR m.adopt_needed_at IS NOT NULL)
     AND (p.id IS NULL OR (SELECT count(*) FROM sexton.run r WHERE r.state = 'running' AND r.parent_id = p.id) < p.max_running)
     AND EXISTS (SELECT FROM sexton.replica r
                  WHERE k.kind = ANY (r.kinds) AND sexton.lacks(k.needs, r.knows) = '{}' AND sexton.lock_holder(r.lock_id) IS NOT NULL
                    AND (SELECT count(*) FROM sexton.run b WHERE b.state = 'running' AND b.replica_id = r.id) < r.slots)
   ORDER BY w.since LIMIT 1 $$;
COMMENT ON FUNCTION sexton.earlier_waiter(text, boolean, bigint) IS
  'The job whose turn it is before ours: one that waits longer, that a live replica with a free slot could start. Internal.';

CREATE FUNCTION sexton.take_resources(
  p_wanted jsonb, p_job bigint DEFAULT NULL, OUT taken boolean, OUT resource text, OUT shared boolean, OUT behind text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  class int := (SELECT m.lock_class FROM sexton.meta m);
  want record;
  mine jsonb := '[]';
BEGIN
  -- By lock id, the same order for all; and since nobody waits holding anything, crossed jobs cannot deadlock.
  FOR want IN
    SELECT w.name, sexton.resource_lock(w.name) AS id, w.shared
      FROM (SELECT CASE jsonb_typeof(v) WHEN 'string' THEN v #>> '{}' ELSE v ->> 'name' END AS name,
                   bool_and(coalesce((v ->> 'shared')::boolean, false)) AS shared
              FROM jsonb_array_elements(p_wanted) v GROUP BY 1 ORDER BY 1) w
     ORDER BY 2
  LOOP
    behind := CASE WHEN p_job IS NOT NULL THEN
      'job ' || sexton.earlier_waiter(want.name, want.shared, p_job) || ', which waits for it longer' END;
    IF behind IS NULL THEN
      IF want.shared THEN
        taken := pg_try_advisory_lock_shared(class, want.id);
      ELSE
        taken := pg_try_advisory_lock(class, want.id);
      END IF;
    ELSE
      taken := false;
    END IF;
    IF NOT taken THEN
      resource := want.name;
      shared := want.shared;
      behind := coalesce(behind, sexton.held_by(want.name, want.shared), 'somebody who has given it back by now');
      FOR want IN SELECT (v ->> 'id')::int AS id, (v ->> 'shared')::boolean AS shared FROM jsonb_array_elements(mine) v LOOP
        IF want.shared THEN
          PERFORM pg_advisory_unlock_shared(class, want.id);
        ELSE
          PERFORM pg_advisory_unlock(class, want.id);
        END IF;
      END LOOP;
      RETURN;
    END IF;
    mine := mine || jsonb_build_object('id', want.id, 'shared', want.shared);
  END LOOP;
  taken := true;
END $$;
COMMENT ON FUNCTION sexton.take_resources(jsonb, bigint) IS
  'Takes resources for this session: all, or none, and then says which was not free and who is in the way. Never waits. p_job: for a claim, which does not overtake whoever waits longer.';

CREATE FUNCTION sexton.give_resource(p_name text, p_shared boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  class int := (SELECT m.lock_class FROM sexton.meta m);
  id int := (SELECT r.lock_id FROM sexton.resource r WHERE r.name = p_name);
  was_held boolean;
BEGIN
  IF p_shared THEN
    was_held := pg_advisory_unlock_shared(class, id);
  ELSE
    was_held := pg_advisory_unlock(class, id);
  END IF;
  PERFORM sexton.wake(w.job_id) FROM (SELECT job_id FROM sexton.waiting LIMIT 1) w;
  RETURN was_held;
END $$;
COMMENT ON FUNCTION sexton.give_resource(text, boolean) IS 'Gives a resource of this session back, and wakes those who wait. Whether it was held.';

CREATE FUNCTION sexton.give_all() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_unlock_all();
  PERFORM sexton.wake(w.job_id) FROM (SELECT job_id FROM sexton.waiting LIMIT 1) w;
END $$;
COMMENT ON FUNCTION sexton.give_all() IS
  'At the end of a run that held resources: gives up all locks of this session now, a moment before it closes, and wakes those who wait.';

CREATE FUNCTION sexton.wanted(j sexton.job, p_mode text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted text := j.resources::text;
  given record;
BEGIN
  FOR given IN SELECT key, value FROM jsonb_each_text(j.run_inputs) LOOP
    -- Within JSON text: quoted as JSON quotes, without the quotation marks.
    -- A value that was cut excludes more than it need, never less.
    wanted := replace(wanted, '{' || given.key || '}',
      trim(BOTH '"' FROM to_jsonb(coalesce(nullif(left(given.value, 100), ''), '-'))::text));
  END LOOP;
  -- Two jobs on one table exclude each other; the one-offs of a job do not, since max_running says how many there may be.
  RETURN wanted::jsonb || CASE
    WHEN j.shares_table OR p_mode = 'dry' THEN '[]'
    ELSE (SELECT coalesce(jsonb_agg(CASE
                   WHEN j.parent_id IS NULL OR j.max_running = 1 THEN to_jsonb('table:' || t.oid)
                   ELSE jsonb_build_object('name', 'table:' || t.oid, 'shared', true) END), '[]')
            FROM (SELECT j.target_oid::text UNION SELECT e ->> 'oid' FROM jsonb_array_elements(j.targets) e
                  UNION   -- in other databases they have the names that their jobs give them
                  SELECT concat_ws('/', coalesce(e ->> 'database', j.database), e ->> 'table')
                    FROM (SELECT j.params UNION ALL SELECT jsonb_path_query(j.params, 'lax $.targets[*]')) AS k(e)
                   WHERE coalesce(e ->> 'database', j.database) IS NOT NULL AND e ? 'table') AS t(oid)
           WHERE t.oid IS NOT NULL) END;
END $$;
COMMENT ON FUNCTION sexton.wanted(sexton.job, text) IS
  'The resources that a run of the job holds: those it names, with its inputs put in, and those of its tables, unless it only looks. Internal.';

-- The claim's part: one-offs have places, then resources. The caller holds the job's row and its lock.
CREATE FUNCTION sexton.take_for(j sexton.job, p_mode text, OUT held jsonb, OUT barred text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t record;
BEGIN
  held := sexton.wanted(j, p_mode);
  barred := sexton.no_place(j);
  IF barred IS NOT NULL THEN
    RETURN;
  END IF;
  IF held <> '[]' THEN
    SELECT * INTO t FROM sexton.take_resources(held, j.id);
    IF NOT t.taken THEN
      barred := format('the resource "%s" is held by %s', t.resource, t.behind);
      INSERT INTO sexton.waiting AS w (job_id, resource, shared, behind) VALUES (j.id, t.resource, t.shared, t.behind)
        ON CONFLICT (job_id) DO UPDATE SET resource = excluded.resource, shared = excluded.shared, behind = excluded.behind
        WHERE (w.resource, w.shared, w.behind) IS DISTINCT FROM (excluded.resource, excluded.shared, excluded.behind);
      RETURN;
    END IF;
  END IF;
  DELETE FROM sexton.waiting WHERE job_id = j.id;
END $$;
COMMENT ON FUNCTION sexton.take_for(sexton.job, text) IS
  'Takes what a run of the job needs besides its own lock, or says what is not free and notes that the job waits. Internal.';

CREATE FUNCTION sexton.skip_held(j sexton.job, p_reason text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Only what the schedule yields: what a person asked for, and a retry, wait.
  IF j.when_held = 'wait' OR j.origin <> 'schedule' OR sexton.is_begun(j) THEN
    RETURN false;
  END IF;
  DELETE FROM sexton.waiting WHERE job_id = j.id;
  UPDATE sexton.job SET missed_count = missed_count + 1 WHERE id = j.id;
  PERFORM sexton.leave_occurrence(j);
  INSERT INTO sexton.audit (actor, verb, job_id, job_name, detail)
    VALUES ('sexton', 'skip', j.id, j.name, jsonb_build_object('occurrence', j.occurrence, 'reason', p_reason));
  PERFORM sexton.wake(j.id);
  RETURN true;
END $$;
COMMENT ON FUNCTION sexton.skip_held(sexton.job, text) IS
  'Passes over an occurrence for which a resource is not free, where the job says so: it is counted as missed, and noted in the audit. Internal.';

-- Proves that nobody holds a name before it goes: with its row locked nobody can be about to take it, and with its lock
-- taken nobody has.
CREATE FUNCTION sexton.prune_resources() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  class int := (SELECT m.lock_class FROM sexton.meta m);
  old record;
  pruned bigint := 0;
BEGIN
  FOR old IN
    SELECT r.name, r.lock_id FROM sexton.resource r
     WHERE r.created_at < clock_timestamp() - interval '1 day' ORDER BY r.created_at LIMIT 50 FOR UPDATE SKIP LOCKED
  LOOP
    IF NOT EXISTS (SELECT FROM sexton.resource_holder h WHERE h.name = old.name)   -- ours would be no obstacle to us
       AND pg_try_advisory_xact_lock(class, old.lock_id) THEN
      DELETE FROM sexton.resource WHERE name = old.name;
    ELSE
      -- In use: looked at again tomorrow, so that it does not stand in the way of others.
      UPDATE sexton.resource SET created_at = clock_timestamp() WHERE name = old.name;
    END IF;
    pruned := pruned + 1;
  END LOOP;
  RETURN pruned;
END $$;
COMMENT ON FUNCTION sexton.prune_resources() IS
  'Removes names of resources that are a day old and that nobody holds, at most 50 at a time: who wants one again makes it anew. Returns how many it looked at. Internal.';

-- ---------------------------------------------------------------------------------------------------------
-- One-offs
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.is_paused(j sexton.job) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > clock_timestamp()) $$;
COMMENT ON FUNCTION sexton.is_paused(sexton.job) IS 'Whether a pause of the job is in force. Internal.';

-- Whatever is written into the row of a one-off, its definition and switches come out as those of its job.
CREATE FUNCTION sexton.one_off_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p sexton.job;
BEGIN
  SELECT * INTO STRICT p FROM sexton.job WHERE id = NEW.parent_id;
  IF p.parent_id IS NOT NULL THEN
    RAISE EXCEPTION 'job %: a one-off has no one-offs', p.name USING ERRCODE = 'SX002';
  ELSIF TG_OP = 'UPDATE' AND (NEW.id <> OLD.id OR NEW.parent_id IS DISTINCT FROM OLD.parent_id OR NEW.version < OLD.version) THEN
    RAISE EXCEPTION 'job %: neither id nor parent can change, nor version go back', OLD.name USING ERRCODE = 'SX002';
  END IF;
  NEW.app := p.app;             NEW.kind := p.kind;               NEW.params := p.params;
  NEW.inputs := p.inputs;       NEW.run_as := p.run_as;           NEW.database := p.database;
  NEW.timeout := p.timeout;     NEW.max_attempts := p.max_attempts;
  NEW.backoff := p.backoff;     NEW.backoff_max := p.backoff_max; NEW.resume_after := p.resume_after;
  NEW.priority := p.priority;   NEW.search_path := p.search_path; NEW.resources := p.resources;
  NEW.shares_table := p.shares_table;                             NEW.max_running := p.max_running;
  NEW.armed_revision := p.armed_revision;
  NEW.armed_at := p.armed_at;   NEW.armed_by := p.armed_by;
  NEW.revision := p.revision;   NEW.validated_revision := p.validated_revision;
  NEW.invalid_reason := p.invalid_reason;
  NEW.target_name := p.target_name;                               NEW.target_oid := p.target_oid;
  NEW.targets := p.targets;     NEW.other_tables := p.other_tables;
  NEW.edited_at := p.edited_at; NEW.edited_by := p.edited_by;     NEW.needs := p.needs;
  NEW.paused_at := NULL;        NEW.paused_by := NULL;
  NEW.pause_reason := NULL;     NEW.paused_until := NULL;
  IF sexton.is_paused(p) THEN
    NEW.paused_at := p.paused_at;       NEW.paused_by := p.paused_by;
    NEW.pause_reason := p.pause_reason; NEW.paused_until := p.paused_until;
  END IF;
  NEW.schedule := 'manual';     NEW.time_zone := 'UTC';           NEW.missed := 'once';
  NEW.planned := true;          NEW.scheduled_at := NULL;         NEW.when_held := 'wait';
  NEW.approved_rows := NULL;    NEW.approved_by := NULL;          NEW.rerun := NULL;
  NEW.pause_after := NULL;      NEW.expect_success_every := NULL; NEW.applied := NULL;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.one_off_guard() IS 'Makes the definition and the switches of a one-off those of its job.';
CREATE TRIGGER one_off BEFORE INSERT OR UPDATE ON sexton.job
  FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION sexton.one_off_guard();
COMMENT ON TRIGGER one_off ON sexton.job IS 'See sexton.one_off_guard().';

-- By touching the rows it is a barrier, as the verb itself: it waits for a batch that is committing, and the next fence
-- finds the row changed.
CREATE FUNCTION sexton.pass_on(was sexton.job, j sexton.job) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (j.revision, j.validated_revision, j.invalid_reason, j.armed_revision, j.paused_at, j.paused_until, j.timeout,
      j.max_attempts, j.backoff, j.backoff_max, j.resume_after, j.priority, j.search_path, j.resources, j.shares_table,
      j.max_running, j.target_oid, j.target_name, j.targets, j.other_tables, j.edited_by, j.app, j.needs)
     IS DISTINCT FROM
     (was.revision, was.validated_revision, was.invalid_reason, was.armed_revision, was.paused_at, was.paused_until, was.timeout,
      was.max_attempts, was.backoff, was.backoff_max, was.resume_after, was.priority, was.search_path, was.resources, was.shares_table,
      was.max_running, was.target_oid, was.target_name, was.targets, was.other_tables, was.edited_by, was.app, was.needs) THEN
    UPDATE sexton.job SET version = version WHERE parent_id = j.id;
  END IF;
END $$;
COMMENT ON FUNCTION sexton.pass_on(sexton.job, sexton.job) IS 'Hands an edit, a pause, an arming of a job on to its one-offs. Internal.';

CREATE FUNCTION sexton.lock_parent(p_job bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT FROM sexton.job p WHERE p.id = (SELECT k.parent_id FROM sexton.job k WHERE k.id = p_job) FOR NO KEY UPDATE $$;
COMMENT ON FUNCTION sexton.lock_parent(bigint) IS
  'Locks the row of the job that a one-off belongs to, before its own, as an edit of that does: claims of one-offs are one after the other, so that their number can be counted. Internal.';

CREATE FUNCTION sexton.no_place(j sexton.job) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p sexton.job;
BEGIN
  IF j.parent_id IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT * INTO STRICT p FROM sexton.job WHERE id = j.parent_id;
  -- Submitted in a transaction that did not see the edit, as that did not see the one-off.
  IF (p.revision, p.validated_revision, p.invalid_reason, p.armed_revision, sexton.is_paused(p))
     IS DISTINCT FROM (j.revision, j.validated_revision, j.invalid_reason, j.armed_revision, sexton.is_paused(j)) THEN
    UPDATE sexton.job SET version = version WHERE id = j.id;
    RETURN format('%s was edited, armed or paused a moment ago', p.name);
  END IF;
  RETURN CASE WHEN j.state = 'idle' THEN sexton.no_place_hint(j) END;   -- an orphan that is recovered has a place
END $$;
COMMENT ON FUNCTION sexton.no_place(sexton.job) IS
  'Why a one-off may not start now; NULL: it may. The caller holds the rows of its job and its own. Internal.';

CREATE FUNCTION sexton.whole_job(p_job text) RETURNS sexton.job
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.job_named(p_job);
BEGIN
  IF j.parent_id IS NOT NULL THEN
    RAISE EXCEPTION 'job %: is a one-off of %, and has no switches of its own', p_job, (SELECT name FROM sexton.job WHERE id = j.parent_id)
      USING ERRCODE = 'SX005', HINT = format('Name %s itself, or drop this one-off: SELECT sexton.cancel(%L);',
        (SELECT name FROM sexton.job WHERE id = j.parent_id), p_job);
  END IF;
  RETURN j;
END $$;
COMMENT ON FUNCTION sexton.whole_job(text) IS 'The job with this name, or an error if it is a one-off. Internal.';

CREATE FUNCTION sexton.put_one_off(
  p sexton.job, p_inputs jsonb, p_due_at timestamptz, p_key text, p_source bigint, OUT name text, OUT is_new boolean)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO sexton.job AS j (name, lock_id, kind, parent_id, source_id, submit_key, pending_key, occurrence, origin, due_at, run_inputs)
    SELECT left(p.name, 88) || '~' || n.id, n.id, p.kind, p.id, p_source, p_key, p_key, clock_timestamp(), 'submit',
           coalesce(p_due_at, clock_timestamp()), p_inputs
      FROM (SELECT nextval('sexton.lock_id')::int AS id) n
    -- One that is pending is not claimed before we commit, so it sees what we wrote. If it was claimed just now it is
    -- pending no longer, and ours is a new one.
    ON CONFLICT (parent_id, pending_key) WHERE pending_key IS NOT NULL DO UPDATE SET due_at = least(j.due_at, excluded.due_at)
  RETURNING j.name, j.xmax = 0 $$;
COMMENT ON FUNCTION sexton.put_one_off(sexton.job, jsonb, timestamptz, text, bigint) IS
  'Adds a one-off, unless one with its key is pending: then the sooner of the two due times holds. Internal.';

CREATE FUNCTION sexton.for_one_offs(p_job text) RETURNS sexton.job
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.whole_job(p_job);
BEGIN
  IF j.schedule !~* '^\s*manual\s*$' THEN
    RAISE EXCEPTION 'job %: has a schedule, and so no one-offs', p_job USING ERRCODE = 'SX005',
      HINT = 'Submit to a job whose schedule is "manual".';
  ELSIF j.invalid_reason IS NOT NULL THEN
    RAISE EXCEPTION 'job %: invalid: %', p_job, j.invalid_reason USING ERRCODE = 'SX005', HINT = 'Mend its definition first.';
  END IF;
  RETURN j;
END $$;
COMMENT ON FUNCTION sexton.for_one_offs(text) IS 'The job with this name, or an error if it can have no one-offs. Internal.';

CREATE FUNCTION sexton.submit(
  job text, inputs jsonb DEFAULT '{}', due_at timestamptz DEFAULT NULL, key text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p sexton.job := sexton.for_one_offs(submit.job);
  one record;
BEGIN
  IF submit.key = '' OR length(submit.key) > 500 THEN
    RAISE EXCEPTION 'job %: key: takes 1 to 500 characters', job USING ERRCODE = 'SX006', HINT = 'Leave it out for a one-off without a key.';
  END IF;
  SELECT * INTO one FROM sexton.put_one_off(p, sexton.checked_inputs(p, submit.inputs), submit.due_at, submit.key, 0);
  PERFORM sexton.wake(p.id);
  RETURN CASE
    WHEN NOT one.is_new THEN format('%s is pending already, with the key "%s".', one.name, submit.key)
    ELSE format('%s is submitted%s.', one.name, coalesce(', due at ' || submit.due_at, '')) END
    || CASE WHEN sexton.is_paused(p) THEN format(' It waits, for %s is paused.', job) ELSE '' END;
END $$;
COMMENT ON FUNCTION sexton.submit(text, jsonb, timestamptz, text) IS
  'One run of a manual job with these inputs, in the transaction of the caller: if that rolls back, there was none. Due at once, unless due_at says otherwise. While one with the same key is pending, it is that one; while one with it runs, the new one waits for its end.';

CREATE FUNCTION sexton.submit_rows(job text, rows jsonb, source bigint, OUT submitted bigint, OUT pending bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p sexton.job := sexton.for_one_offs(submit_rows.job);
  given jsonb;
  one record;
BEGIN
  submitted := 0;
  pending := 0;
  FOR given IN SELECT value FROM jsonb_array_elements(submit_rows.rows) LOOP
    SELECT * INTO one FROM sexton.put_one_off(p, sexton.checked_inputs(p, given -> 'inputs'), NULL, given ->> 'key', source);
    submitted := submitted + one.is_new::int;
    pending := pending + (NOT one.is_new)::int;
  END LOOP;
  PERFORM sexton.wake(p.id);
END $$;
COMMENT ON FUNCTION sexton.submit_rows(text, jsonb, bigint) IS
  'Submits many: rows is an array of {"key": …, "inputs": {…}}, source the job that does so. Says how many are new, and how many were pending already.';

CREATE VIEW sexton.one_offs AS
SELECT j.name, p.name AS job, j.submit_key AS key, j.run_inputs AS inputs,
       CASE WHEN j.state = 'running' THEN 'running'
            WHEN j.invalid_reason IS NOT NULL THEN 'invalid'
            WHEN sexton.is_paused(j) THEN 'paused'
            WHEN j.attempt > 0 THEN 'retrying'
            WHEN j.due_at <= clock_timestamp() THEN 'due'
            ELSE 'idle' END AS state,
       j.due_at, j.created_at AS submitted_at, j.attempt, j.holder, s.name AS source
  FROM sexton.job j
  JOIN sexton.job p ON p.id = j.parent_id
  LEFT JOIN sexton.job s ON s.id = j.source_id;
COMMENT ON VIEW sexton.one_offs IS 'One-offs that are not done: pending, on their way, to be tried again. Those that are done are in the history.';

-- Which one-offs a replica should try: of each job as many as may still start, any of its oldest; turn is how many of
-- the same source run already, and how many go before. Replicas take the least turn first, so that no source starves
-- another; and each is left others, at random, for replicas that all try the same lose most tries.
CREATE FUNCTION sexton.next_one_offs(p_kinds text[], p_most bigint, p_knows text[]) RETURNS TABLE (id bigint, turn bigint)
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE source AS (   -- steps from one (job, source) to the next by the index, however many one-offs there are
    (SELECT k.parent_id, k.source_id FROM sexton.job k WHERE k.parent_id IS NOT NULL ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    SELECT n.* FROM source s CROSS JOIN LATERAL (
      SELECT k.parent_id, k.source_id FROM sexton.job k
       WHERE k.parent_id IS NOT NULL AND (k.parent_id, k.source_id) > (s.parent_id, s.source_id) ORDER BY 1, 2 LIMIT 1) n),
  busy AS MATERIALIZED (
    SELECT r.parent_id, j.source_id, count(*) AS running
      FROM sexton.run r LEFT JOIN sexton.job j ON j.id = r.job_id
     WHERE r.state = 'running' AND r.parent_id IS NOT NULL GROUP BY 1, 2),
  -- MATERIALIZED, here and above: asked once for each job, and not for each of its one-offs (measured: 24 ms a scan, and 3).
  job AS MATERIALIZED (
    SELECT p.id, p.max_running - coalesce((SELECT sum(b.running) FROM busy b WHERE b.parent_id = p.id), 0) AS places
      FROM sexton.job p
     WHERE p.parent_id IS NULL AND p.id IN (SELECT s.parent_id FROM source s) AND p.kind = ANY (p_kinds)
       AND p.invalid_reason IS NULL AND p.validated_revision = p.revision AND NOT sexton.is_paused(p)
       AND sexton.lacks(p.needs, p_knows) = '{}'),
  at_work AS MATERIALIZED (
    SELECT o.id, o.parent_id, o.submit_key FROM sexton.job o
     WHERE o.submit_key IS NOT NULL AND o.pending_key IS NULL AND (o.state = 'running' OR o.attempt > 0)),
  open AS (
    SELECT s.parent_id, f.places, k.id,
           coalesce((SELECT b.running FROM busy b WHERE (b.parent_id, b.source_id) = (s.parent_id, s.source_id)), 0)
             + row_number() OVER (PARTITION BY s.parent_id, s.source_id ORDER BY random()) - 1 AS turn
      FROM source s
      JOIN job f ON f.id = s.parent_id AND f.places > 0
     CROSS JOIN LATERAL (
       SELECT k.id FROM sexton.job k
        WHERE k.parent_id = s.parent_id AND k.source_id = s.source_id AND k.due_at <= now() AND k.state = 'idle'
          AND NOT EXISTS (SELECT FROM at_work o WHERE (o.parent_id, o.submit_key) = (k.parent_id, k.submit_key)
                             AND o.id <> k.id AND k.attempt = 0)
          AND k.id NOT IN (SELECT b.job_id FROM sexton.blocked b)
        ORDER BY k.due_at LIMIT least(4 * f.places, p_most)) k)
  SELECT o.id, o.turn FROM (
    SELECT o.*, row_number() OVER (PARTITION BY o.parent_id ORDER BY o.turn, random()) AS place FROM open o) o
   WHERE o.place <= o.places $$;
COMMENT ON FUNCTION sexton.next_one_offs(text[], bigint, text[]) IS
  'The one-offs that a replica of these kinds may try for now, with whose turn it is. A hint: the claim decides.';

CREATE FUNCTION sexton.prune_one_offs(p_job bigint, m sexton.meta) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parent bigint := (SELECT r.parent_id FROM sexton.run r WHERE r.job_id = p_job LIMIT 1);
  pruned bigint;
BEGIN
  IF parent IS NULL THEN
    RETURN 0;
  END IF;
  DELETE FROM sexton.run WHERE id IN (
    SELECT r.id FROM sexton.run r
     WHERE r.parent_id = parent AND r.state <> 'running' AND NOT EXISTS (SELECT FROM sexton.job j WHERE j.id = r.job_id)
       AND r.started_at < greatest(clock_timestamp() - m.keep_runs_for,
             (SELECT k.started_at FROM sexton.run k WHERE k.parent_id = parent ORDER BY k.started_at DESC OFFSET m.keep_one_offs - 1 LIMIT 1))
     ORDER BY r.started_at LIMIT 200);
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END $$;
COMMENT ON FUNCTION sexton.prune_one_offs(bigint, sexton.meta) IS
  'Removes finished runs of one-offs beyond meta.keep_one_offs for each job and meta.keep_runs_for, at most 200 at a time. Internal; called after the run of one of them.';

CREATE FUNCTION sexton.no_place_hint(j sexton.job) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN EXISTS (SELECT FROM sexton.job o WHERE o.parent_id = j.parent_id AND o.submit_key = j.submit_key
                              AND o.pending_key IS NULL AND o.id <> j.id AND j.attempt = 0 AND (o.state = 'running' OR o.attempt > 0))
              THEN format('another one-off with the key "%s" is not done yet', j.submit_key)
              WHEN (SELECT count(*) FROM sexton.run r WHERE r.state = 'running' AND r.parent_id = j.parent_id) >= j.max_running
              THEN format('as many one-offs of %s are running as may (max_running = %s)', (SELECT p.name FROM sexton.job p WHERE p.id = j.parent_id), j.max_running)
         END WHERE j.parent_id IS NOT NULL $$;
COMMENT ON FUNCTION sexton.no_place_hint(sexton.job) IS 'Why a one-off may not start now, as far as others are in its way; NULL: it may. Internal.';

CREATE VIEW sexton.resources AS
SELECT h.name, h.shared, false AS waits, h.pid AS backend_pid, r.job_name AS job,
       coalesce(r.holder, concat_ws(', ', a.usename, a.application_name)) AS holder,
       coalesce(r.started_at, a.backend_start) AS since, r.id AS run_id, NULL::text AS behind
  FROM sexton.resource_holder h
  LEFT JOIN sexton.run r ON r.backend_pid = h.pid AND r.state = 'running'
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
UNION ALL
SELECT w.resource, w.shared, true, NULL, j.name, NULL, w.since, NULL, coalesce(sexton.held_by(w.resource, w.shared), w.behind)
  FROM sexton.waiting w
  JOIN sexton.job j ON j.id = w.job_id AND j.state = 'idle' AND j.due_at <= clock_timestamp();
COMMENT ON VIEW sexton.resources IS 'The resources: who holds which, and who waits, since when and for whom.';
