-- Views for people: whoever is on call sees the same words here, on the command line and elsewhere.

CREATE VIEW sexton.replicas AS
SELECT r.id, r.name, r.program, r.slots, r.kinds, r.knows, r.started_at, l.pid AS backend_pid, l.pid IS NOT NULL AS alive,
       (SELECT count(*) FROM sexton.job j WHERE j.replica_id = r.id) AS running
  FROM sexton.replica r
  LEFT JOIN LATERAL (SELECT sexton.lock_holder(r.lock_id) AS pid) l ON true;
COMMENT ON VIEW sexton.replicas IS 'The replicas; alive means that the session which holds its lock is there, no heartbeat.';

CREATE VIEW sexton.runs AS
SELECT r.id, r.job_name AS job, r.state, r.mode, r.origin, r.occurrence, r.started_at, r.finished_at,
       coalesce(r.finished_at, clock_timestamp()) - r.started_at AS duration,
       r.started_at - r.occurrence AS late_by, r.attempt,
       coalesce(r.batches, p.batches, 0) AS batches, coalesce(r.rows_done, p.rows_done, 0) AS rows_done,
       r.coalesced, r.report ->> 'stopped' AS stopped, r.error, r.report, r.holder, r.epoch, r.version, r.revision,
       r.params, r.options, r.inputs, r.program, r.job_id, r.parent_id
  FROM sexton.run r
  LEFT JOIN LATERAL (SELECT sum(seq)::bigint AS batches, sum(rows)::bigint AS rows_done
                       FROM sexton.run_part p WHERE p.run_id = r.id AND r.state = 'running') p ON true;
COMMENT ON VIEW sexton.runs IS 'The runs, with what each did so far.';

CREATE VIEW sexton.running AS
SELECT j.name AS job, r.mode, r.holder, r.backend_pid, r.started_at, clock_timestamp() - r.started_at AS duration, r.attempt,
       p.batches, p.rows_done,
       round(p.rows_done / greatest(extract(epoch FROM clock_timestamp() - r.started_at), 0.001))::bigint AS rows_per_second,
       p.moved_at AS last_batch_at, r.progress,
       concat_ws(': ', a.wait_event_type, a.wait_event) AS waits_for,
       CASE WHEN o.id IS NOT NULL THEN 'its session is gone'
            ELSE sexton.stop_reason(j, r, j.version, m.halted_at) END AS stops_because,
       r.id AS run_id, j.version, r.resources
  FROM sexton.job j
  JOIN sexton.run r ON r.id = j.run_id
  CROSS JOIN sexton.meta m
  LEFT JOIN sexton.orphan o ON o.id = j.id
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = j.holder_pid
  LEFT JOIN LATERAL (SELECT sum(seq)::bigint AS batches, sum(rows)::bigint AS rows_done, max(moved_at) AS moved_at
                       FROM sexton.run_part p WHERE p.run_id = r.id) p ON true
 WHERE j.state = 'running';
COMMENT ON VIEW sexton.running IS 'What runs now: where, how far, how fast, and what it waits for.';

CREATE VIEW sexton.jobs AS
SELECT j.name, j.app, j.kind,
       CASE WHEN j.state = 'running' THEN 'running'
            WHEN j.invalid_reason IS NOT NULL THEN 'invalid'
            WHEN j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > clock_timestamp()) THEN 'paused'
            WHEN j.attempt > 0 THEN 'retrying'
            WHEN j.due_at <= clock_timestamp() THEN 'due'
            ELSE 'idle' END AS state,
       j.armed_revision IS NOT DISTINCT FROM j.revision AS armed,
       j.schedule, j.time_zone, j.due_at AS next_due_at, j.due_at AT TIME ZONE j.time_zone AS next_due_local,
       last.state AS last_outcome, last.mode AS last_mode, last.finished_at AS last_finished_at, last.rows_done AS last_rows,
       last.report ->> 'stopped' AS last_stopped, coalesce(last.error, j.invalid_reason) AS last_error,
       success.finished_at AS last_success_at,
       (slo.backlog ->> 'rows')::bigint
         + coalesce(round((slo.backlog ->> 'arrival_per_day')::float8 * slo.days), 0)::bigint AS eligible,
       slo.backlog ->> 'oldest' AS oldest_overdue,
       make_interval(secs => (slo.backlog ->> 'overdue_s')::float8 + slo.days * 86400) AS overdue_by,
       (slo.backlog ->> 'arrival_per_day')::bigint AS arrival_per_day,
       (slo.backlog ->> 'drain_per_day')::bigint AS drain_per_day,
       (slo.backlog ->> 'catches_up')::boolean AS catches_up,
       j.failure_count, j.revision, j.version, j.edited_by, j.edited_at, j.removed_at, j.params, j.id,
       coalesce(j.database, (SELECT string_agg(DISTINCT e ->> 'database', ', ') FROM jsonb_path_query(j.params, 'lax $.targets[*]') e)) AS database,
       (SELECT count(*) FROM sexton.job o WHERE o.parent_id = j.id) AS one_offs
  FROM sexton.job j
  -- Its own, or the last of its one-offs.
  LEFT JOIN LATERAL (SELECT * FROM (
                       (SELECT * FROM sexton.run r WHERE r.job_id = j.id AND r.state <> 'running'
                         ORDER BY r.epoch DESC, r.version DESC LIMIT 1)
                       UNION ALL
                       (SELECT * FROM sexton.run r WHERE r.parent_id = j.id AND r.state <> 'running'
                         ORDER BY r.started_at DESC LIMIT 1)) r
                      ORDER BY r.started_at DESC LIMIT 1) last ON true
  LEFT JOIN LATERAL (SELECT greatest(
                       (SELECT r.finished_at FROM sexton.run r WHERE r.job_id = j.id AND r.state = 'succeeded'
                         ORDER BY r.occurrence DESC LIMIT 1),
                       (SELECT r.finished_at FROM sexton.run r WHERE r.parent_id = j.id AND r.state = 'succeeded'
                         ORDER BY r.started_at DESC LIMIT 1)) AS finished_at) success ON true
  LEFT JOIN LATERAL (SELECT r.report -> 'backlog' AS backlog,
                            extract(epoch FROM clock_timestamp() - r.finished_at)::float8 / 86400 AS days
                       FROM sexton.run r WHERE r.job_id = j.id AND r.state <> 'running' AND r.report ? 'backlog'
                      ORDER BY r.epoch DESC, r.version DESC LIMIT 1) slo ON true
 WHERE j.parent_id IS NULL;
COMMENT ON VIEW sexton.jobs IS 'The jobs: state, what is next, how the last run went, and, of purges, what is overdue.';
COMMENT ON COLUMN sexton.jobs.database IS 'The other database that it works in, or those of its targets.';
COMMENT ON COLUMN sexton.jobs.eligible IS 'Rows that are old enough to go: those that the last run left (or that a dry run found), and those that came of age since at the rate of late.';
COMMENT ON COLUMN sexton.jobs.oldest_overdue IS 'The age of the oldest row that the last run left, where an index tells it.';
COMMENT ON COLUMN sexton.jobs.overdue_by IS 'For how long that row is eligible by now.';
COMMENT ON COLUMN sexton.jobs.arrival_per_day IS 'Rows a day that came of age, over up to ten runs of this revision.';
COMMENT ON COLUMN sexton.jobs.drain_per_day IS 'Rows a day that these runs deleted.';
COMMENT ON COLUMN sexton.jobs.catches_up IS 'False: the job will never catch up, since rows come of age at least as fast as they are deleted. NULL: too few runs to tell.';

CREATE VIEW sexton.overdue AS
SELECT name AS job, 'late' AS why, next_due_at AS since, clock_timestamp() - next_due_at AS by
  FROM sexton.jobs WHERE state IN ('due', 'retrying') AND next_due_at < clock_timestamp() - interval '1 minute'
UNION ALL
SELECT s.name, 'no success for ' || j.expect_success_every, s.last_success_at,
       clock_timestamp() - coalesce(s.last_success_at, j.created_at) - j.expect_success_every
  FROM sexton.jobs s JOIN sexton.job j ON j.id = s.id
 WHERE coalesce(s.last_success_at, j.created_at) + j.expect_success_every < clock_timestamp();
COMMENT ON VIEW sexton.overdue IS 'Jobs that are late, or whose last success is older than expected.';

CREATE FUNCTION sexton.why(job text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job := sexton.job_named(why.job);
  m sexton.meta;
  last sexton.run;
  backlog jsonb;
  stranger int;
  workers int[];
  alive int;
  w sexton.waiting;
  able int;
  lacking text[];
  what text;
  one_offs text;
BEGIN
  SELECT * INTO STRICT m FROM sexton.meta;
  SELECT format('A one-off of %s%s%s%s. ', p.name, ', with ' || nullif(j.run_inputs, '{}')::text, ', key "' || j.submit_key || '"',
                ', submitted by ' || (SELECT s.name FROM sexton.job s WHERE s.id = j.source_id))
    INTO what FROM sexton.job p WHERE p.id = j.parent_id;
  SELECT format(' Of its one-offs %s; sexton.one_offs lists them.', string_agg(format('%s %s', o.n, o.state), ', ' ORDER BY o.state))
    INTO one_offs FROM (SELECT o.state, count(*) AS n FROM sexton.one_offs o WHERE o.job = j.name GROUP BY o.state) o HAVING count(*) > 0;
  SELECT * INTO last FROM sexton.run r WHERE r.job_id = j.id AND r.state <> 'running' ORDER BY r.epoch DESC, r.version DESC LIMIT 1;
  SELECT r.report -> 'backlog' INTO backlog FROM sexton.run r
    WHERE r.job_id = j.id AND r.state <> 'running' AND r.report ? 'backlog' ORDER BY r.epoch DESC, r.version DESC LIMIT 1;
  SELECT count(*) INTO alive FROM sexton.replicas r WHERE r.alive AND j.kind = ANY (r.kinds);
  SELECT * INTO w FROM sexton.waiting k WHERE k.job_id = j.id;
  SELECT count(*) INTO able FROM sexton.replicas r
   WHERE r.alive AND j.kind = ANY (r.kinds) AND sexton.lacks(j.needs, r.knows) = '{}';
  -- What the replica that lacks the least lacks: that is what to add, and where.
  SELECT sexton.lacks(j.needs, r.knows) INTO lacking FROM sexton.replicas r WHERE r.alive AND j.kind = ANY (r.kinds)
   ORDER BY cardinality(sexton.lacks(j.needs, r.knows)) LIMIT 1;
  stranger := sexton.lock_holder(j.lock_id);
  workers := sexton.worker_backends(j.worker_lock_id);
  RETURN coalesce(what, '') || CASE
    WHEN j.state = 'running' AND stranger IS NOT DISTINCT FROM j.holder_pid THEN
      format('It is running on %s since %s (attempt %s).', j.holder, (SELECT started_at FROM sexton.run WHERE id = j.run_id), j.attempt)
    WHEN j.state = 'running' AND stranger IS NULL AND workers <> '{}' THEN
      format('The session of its replica %s is gone; another takes over as soon as the backends that worked for the same run are gone too: %s.',
             j.holder, array_to_string(workers, ', '))
    WHEN j.state = 'running' THEN
      format('Its replica %s is gone; %s', j.holder, CASE WHEN alive = 0 THEN 'no other replica is alive to take over.'
             WHEN able = 0 THEN format('no replica that is alive knows %s.', array_to_string(lacking, ', ')) ELSE 'another takes over in a moment.' END)
    WHEN j.invalid_reason IS NOT NULL THEN format('It is invalid: %s.', rtrim(j.invalid_reason, '.'))
    WHEN j.paused_at IS NOT NULL AND (j.paused_until IS NULL OR j.paused_until > clock_timestamp()) THEN
      format('It was paused by %s at %s%s%s.', j.paused_by, j.paused_at, ': ' || nullif(j.pause_reason, ''), ', until ' || j.paused_until)
    WHEN alive = 0 AND EXISTS (SELECT 1 FROM sexton.replicas r WHERE r.alive) THEN
      format('No replica that is alive knows the kind "%s".', j.kind)
    WHEN alive = 0 THEN 'No replica is alive: start one with `sexton run`.'
    WHEN able = 0 AND j.validated_revision = j.revision THEN
      format('No replica that is alive knows %s: add it to the local file of one (`sexton run --config`).', array_to_string(lacking, ', '))
    WHEN m.adopt_needed_at IS NOT NULL AND j.armed_revision = j.revision THEN
      'This database was restored or cloned: sexton.adopt() lets its destructive jobs run here.'
    WHEN m.halted_at IS NOT NULL AND j.armed_revision = j.revision THEN
      format('Everything destructive was halted by %s at %s%s; sexton.resume_all() ends that.', m.halted_by, m.halted_at, ': ' || nullif(m.halt_reason, ''))
    WHEN stranger IS NOT NULL THEN
      format('Its lock is held by backend %s (%s), which is not its holder.', stranger,
             (SELECT concat_ws(', ', a.usename, a.application_name) FROM pg_stat_activity a WHERE a.pid = stranger))
    WHEN j.validated_revision IS DISTINCT FROM j.revision OR NOT j.planned THEN 'A replica is about to validate and plan it.'
    WHEN j.due_at IS NULL AND one_offs IS NOT NULL THEN 'Nothing is due but its one-offs.'
    WHEN j.due_at IS NULL THEN 'Nothing is due: its schedule does not come again by itself.'
    WHEN w.job_id IS NOT NULL AND j.due_at <= clock_timestamp() THEN
      format('It waits since %s for the resource "%s", held by %s.', w.since, w.resource, coalesce(sexton.held_by(w.resource, w.shared), w.behind))
    WHEN j.attempt > 0 THEN format('Attempt %s ended as %s (%s); the next is due at %s.', j.attempt, last.state, last.error, j.due_at)
    WHEN j.due_at > clock_timestamp() THEN format('It is not due before %s.', j.due_at AT TIME ZONE j.time_zone || ' ' || j.time_zone)
    WHEN sexton.no_place_hint(j) IS NOT NULL THEN format('It waits since %s: %s.', j.due_at, sexton.no_place_hint(j))
    ELSE format('It is due since %s and waits for a free slot.', j.due_at) END
    || coalesce(one_offs, '')
    || CASE WHEN last.state = 'refused' AND j.state = 'idle' AND j.approved_rows IS NULL
            THEN ' The last run was refused: ' || last.error ELSE '' END
    || CASE WHEN (backlog ->> 'catches_up')::boolean IS FALSE THEN
         format(' It will never catch up: about %s rows a day come of age, and it deletes %s; give it more time, rows or pace.',
                backlog ->> 'arrival_per_day', backlog ->> 'drain_per_day') ELSE '' END
    || CASE WHEN j.approved_rows IS NOT NULL THEN
         format(' Its next run may delete up to %s rows, approved by %s.', j.approved_rows, j.approved_by) ELSE '' END
    || CASE WHEN j.kind = 'purge' AND j.armed_revision IS DISTINCT FROM j.revision THEN
         format(' It is not armed and so only reports%s: SELECT sexton.arm(%L) lets it delete.',
                ', since it was edited by ' || CASE WHEN j.armed_revision IS NOT NULL THEN j.edited_by END, j.name) ELSE '' END;
END $$;
COMMENT ON FUNCTION sexton.why(text) IS 'Why the job runs, or does not, in a sentence or two.';
