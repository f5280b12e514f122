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
  attempt int NOT NULL, occurrence timestamptz, origin text, scheduled_at timestamptz,
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
  job_id bigint NOT NULL, verb text NOT NULL);

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
                           attempt, occurrence, origin, scheduled_at, taken_from_live)
    VALUES (TG_OP, j.id, j.name, j.state, j.version, j.run_id, j.revision, j.armed_revision, j.paused_at IS NOT NULL,
            j.cancel_requested_at IS NOT NULL, j.attempt, j.occurrence, j.origin, j.scheduled_at, live);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE OR DELETE ON sexton.job FOR EACH ROW EXECUTE FUNCTION chaos.note_job();

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

-- The history must not be cut short while it is being made.
UPDATE sexton.meta SET keep_runs = 10000000;
