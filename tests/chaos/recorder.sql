-- What the database itself notes of everything that happens, for the checker. It asks nothing of the protocol: who
-- writes sexton.job, sexton.run_part or a target table, by whatever function, leaves a row here in the same transaction.
--
-- Order is told twice. `moment` is drawn while the writer holds the lock that orders it; `xid` leads to the commit
-- timestamp, which is taken before any lock is given back. A history is sound if both orders say so.
CREATE SCHEMA chaos;
CREATE SEQUENCE chaos.moment;

CREATE TABLE chaos.trail (
  moment bigint NOT NULL DEFAULT nextval('chaos.moment'), xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(), op text NOT NULL,
  job_id bigint NOT NULL, name text NOT NULL, state text NOT NULL, version bigint NOT NULL, run_id uuid,
  revision bigint NOT NULL, armed_revision bigint, paused boolean NOT NULL, cancelled boolean NOT NULL,
  attempt int NOT NULL, occurrence timestamptz, origin text, scheduled_at timestamptz, due_at timestamptz,
  paused_until timestamptz, parent_id bigint, source_id bigint, submit_key text, max_running int NOT NULL,
  -- Whether the row changed hands while the session of the former holder still held the job's lock.
  taken_from_live boolean NOT NULL);
CREATE TABLE chaos.fence (
  moment bigint NOT NULL DEFAULT nextval('chaos.moment'), xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(), run_id uuid NOT NULL, part int NOT NULL, seq bigint NOT NULL,
  steps bigint NOT NULL, rows bigint NOT NULL);
CREATE TABLE chaos.halt (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), halted boolean NOT NULL);
CREATE TABLE chaos.ledger (
  id bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  job text NOT NULL, occurrence timestamptz NOT NULL, step int NOT NULL, version bigint NOT NULL, run_id uuid NOT NULL);
CREATE TABLE chaos.gone (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), target text NOT NULL, id bigint NOT NULL);
CREATE TABLE chaos.accepted (
  moment bigint NOT NULL DEFAULT nextval('chaos.moment'), xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  job_id bigint NOT NULL, verb text NOT NULL, key text);
-- Runs that were begun though something stood beside them, or taken away though they were still needed.
CREATE TABLE chaos.beside (run_id uuid NOT NULL, what text NOT NULL);

CREATE FUNCTION chaos.note_job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  j sexton.job := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  live boolean := false;
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.state = 'running' AND NEW.run_id IS DISTINCT FROM OLD.run_id THEN
    live := NEW.state = 'running' AND EXISTS (SELECT FROM pg_locks l, sexton.meta m
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = m.lock_class::oid
        AND l.objid = OLD.lock_id::oid AND l.pid = OLD.holder_pid AND l.pid <> pg_backend_pid());
  END IF;
  INSERT INTO chaos.trail (op, job_id, name, state, version, run_id, revision, armed_revision, paused, cancelled,
                           attempt, occurrence, origin, scheduled_at, due_at, paused_until, parent_id, source_id, submit_key,
                           max_running, taken_from_live)
    VALUES (TG_OP, j.id, j.name, j.state, j.version, j.run_id, j.revision, j.armed_revision, j.paused_at IS NOT NULL,
            j.cancel_requested_at IS NOT NULL, j.attempt, j.occurrence, j.origin, j.scheduled_at, j.due_at, j.paused_until,
            j.parent_id, j.source_id, j.submit_key, j.max_running, live);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE OR DELETE ON sexton.job FOR EACH ROW EXECUTE FUNCTION chaos.note_job();

-- What stands beside a run when it begins, or when it takes a resource: sessions of earlier runs of the job that still
-- execute something, and runs of other jobs whose holders live and hold the same resource. A session that ends gives its
-- locks back a moment before it is gone from pg_stat_activity, hence the patience.
CREATE FUNCTION chaos.stands_beside(n sexton.run) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT format('backend %s of its run %s was at work still', a.pid, r.id)
    FROM (SELECT * FROM sexton.run WHERE job_id = n.job_id AND id <> n.id ORDER BY epoch DESC, version DESC LIMIT 3) r
    JOIN pg_stat_activity a ON a.pid = r.backend_pid OR a.pid = ANY (r.worker_pids)
   WHERE a.datname = current_database() AND a.pid <> n.backend_pid AND a.state <> 'idle'
     AND a.backend_start < coalesce(r.finished_at, n.started_at)
  UNION ALL
  SELECT format('run %s of %s held the resource %s', r.id, r.job_name, mine.name)
    FROM sexton.run r
    JOIN sexton.job j ON j.run_id = r.id
    CROSS JOIN sexton.meta m
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.classid = m.lock_class::oid AND l.objid = j.lock_id::oid
                   AND l.pid = r.backend_pid
    CROSS JOIN LATERAL (SELECT coalesce(v ->> 'name', v #>> '{}') AS name, v ? 'shared' AS shared FROM jsonb_array_elements(r.resources) v) theirs
    JOIN (SELECT coalesce(v ->> 'name', v #>> '{}') AS name, v ? 'shared' AS shared FROM jsonb_array_elements(n.resources) v) mine
      ON mine.name = theirs.name AND NOT (mine.shared AND theirs.shared)
   WHERE r.state = 'running' AND r.id <> n.id $$;
CREATE FUNCTION chaos.note_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  beside text[];
BEGIN
  FOR patience IN 1..15 LOOP
    beside := ARRAY(SELECT * FROM chaos.stands_beside(NEW));
    EXIT WHEN beside = '{}';
    PERFORM pg_sleep(0.02), pg_stat_clear_snapshot();
  END LOOP;
  INSERT INTO chaos.beside SELECT NEW.id, 'was begun though ' || what FROM unnest(beside) what;
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE OF resources ON sexton.run FOR EACH ROW EXECUTE FUNCTION chaos.note_run();

-- Runs are pruned as everywhere; here they are kept, since they are the history.
CREATE TABLE chaos.pruned (LIKE sexton.run);
CREATE FUNCTION chaos.as_kept(r sexton.run) RETURNS chaos.pruned LANGUAGE sql STABLE AS $$
  SELECT jsonb_populate_record(NULL::chaos.pruned, to_jsonb(r)) $$;
CREATE FUNCTION chaos.note_pruned() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.pruned SELECT * FROM chaos.as_kept(OLD);
  INSERT INTO chaos.beside SELECT OLD.id, 'was pruned though its occurrence was not over'
    FROM sexton.job j WHERE j.id = OLD.job_id AND j.occurrence = OLD.occurrence;
  RETURN OLD;
END $$;
CREATE TRIGGER pruned BEFORE DELETE ON sexton.run FOR EACH ROW EXECUTE FUNCTION chaos.note_pruned();
CREATE VIEW chaos.run AS SELECT * FROM chaos.pruned UNION ALL SELECT k.* FROM sexton.run r CROSS JOIN LATERAL chaos.as_kept(r) k;

CREATE FUNCTION chaos.note_fence() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.fence (run_id, part, seq, steps, rows)
    VALUES (NEW.run_id, NEW.part, NEW.seq, NEW.seq - OLD.seq, NEW.rows - OLD.rows);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON sexton.run_part FOR EACH ROW EXECUTE FUNCTION chaos.note_fence();

CREATE FUNCTION chaos.note_halt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.halt (halted) VALUES (NEW.halted_at IS NOT NULL);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER UPDATE ON sexton.meta FOR EACH ROW
  WHEN (NEW.halted_at IS DISTINCT FROM OLD.halted_at) EXECUTE FUNCTION chaos.note_halt();

-- For target tables of purges: one row for each row that went, in the transaction that took it.
CREATE FUNCTION chaos.note_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.gone (target, id) SELECT TG_TABLE_NAME, o.id FROM gone o;
  RETURN NULL;
END $$;

-- So few that pruning is at work all the time.
UPDATE sexton.meta SET keep_runs = 3, keep_one_offs = 20;
