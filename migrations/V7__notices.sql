-- Notices on their way: who wants to hear of what, and what became of each message.
--
-- A notice and its deliveries are written in the transaction that they are about; replicas send them afterwards. A
-- delivery is taken by raising its attempt and putting its due time off: no transaction is open while it is sent, and
-- whoever dies meanwhile leaves a delivery that is due again. So each is sent at least once, by one replica at a time,
-- always under the same key. docs/notices.md is for readers.

CREATE TABLE sexton.subscription (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  channel text   NOT NULL,
  jobs    text   NOT NULL DEFAULT '*' CHECK (jobs ~ '^[A-Za-z0-9._~*-]{1,100}$'),
  events  text[] NOT NULL,
  subscribed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  subscribed_by text NOT NULL,
  UNIQUE (channel, jobs)
);
COMMENT ON TABLE  sexton.subscription IS 'Who hears of many jobs at once; a single job''s own are in its column notices. Written by sexton.subscribe() and sexton.unsubscribe().';
COMMENT ON COLUMN sexton.subscription.id IS 'Order of entry.';
COMMENT ON COLUMN sexton.subscription.channel IS 'Where to: mail:ADDRESS, mail:NAME or webhook:NAME.';
COMMENT ON COLUMN sexton.subscription.jobs IS 'Which jobs: a name in which * stands for any characters.';
COMMENT ON COLUMN sexton.subscription.events IS 'Of what.';
COMMENT ON COLUMN sexton.subscription.subscribed_at IS 'Since when.';
COMMENT ON COLUMN sexton.subscription.subscribed_by IS 'Who wrote it.';

CREATE TABLE sexton.channel (
  name       text PRIMARY KEY,
  failures   int NOT NULL DEFAULT 0 CHECK (failures >= 0),
  failed_at  timestamptz,
  retry_at   timestamptz,
  error      text,
  sent_at    timestamptz,
  off_at     timestamptz
);
COMMENT ON TABLE  sexton.channel IS 'How the channels do that something was sent to.';
COMMENT ON COLUMN sexton.channel.name IS 'mail:ADDRESS, mail:NAME or webhook:NAME.';
COMMENT ON COLUMN sexton.channel.failures IS 'Failures in a row. What was under way together counts once.';
COMMENT ON COLUMN sexton.channel.failed_at IS 'The last of them.';
COMMENT ON COLUMN sexton.channel.retry_at IS 'Until then nothing is sent to it.';
COMMENT ON COLUMN sexton.channel.error IS 'What went wrong last.';
COMMENT ON COLUMN sexton.channel.sent_at IS 'When something reached it last.';
COMMENT ON COLUMN sexton.channel.off_at IS 'Since when it is switched off, after ten failures in a row. sexton.channel_on() ends that.';

CREATE TABLE sexton.delivery (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  notice_id bigint NOT NULL REFERENCES sexton.notice ON DELETE CASCADE,
  channel   text   NOT NULL,
  key       uuid   NOT NULL DEFAULT gen_random_uuid(),
  state     text   NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'held_back', 'failed')),
  due_at    timestamptz NOT NULL,
  attempt   int    NOT NULL DEFAULT 0 CHECK (attempt >= 0),
  taken_at  timestamptz,
  taken_by  uuid,
  held_back bigint NOT NULL DEFAULT 0 CHECK (held_back >= 0),
  ended_at  timestamptz,
  error     text,
  UNIQUE (notice_id, channel)
);
CREATE INDEX delivery_waiting ON sexton.delivery (due_at) WHERE state = 'waiting';
COMMENT ON TABLE  sexton.delivery IS 'A notice on its way to a channel, and what became of it.';
COMMENT ON INDEX  sexton.delivery_waiting IS 'What is to be sent next.';
COMMENT ON COLUMN sexton.delivery.id IS 'Order of entry.';
COMMENT ON COLUMN sexton.delivery.notice_id IS 'Which notice.';
COMMENT ON COLUMN sexton.delivery.channel IS 'Where to.';
COMMENT ON COLUMN sexton.delivery.key IS 'Tells repetitions apart from news: the same with every attempt, in Message-ID and webhook-id.';
COMMENT ON COLUMN sexton.delivery.state IS 'waiting; sent; held_back (a later one said how many); failed (given up).';
COMMENT ON COLUMN sexton.delivery.due_at IS 'When it is sent, or tried again. While it is being sent: when its replica is taken for dead.';
COMMENT ON COLUMN sexton.delivery.attempt IS 'Attempts made, the present one included.';
COMMENT ON COLUMN sexton.delivery.taken_at IS 'When the last attempt began.';
COMMENT ON COLUMN sexton.delivery.taken_by IS 'Which replica sends it, or sent it; NULL: none at this moment.';
COMMENT ON COLUMN sexton.delivery.held_back IS 'How many others like it were held back since the last one that was sent; it says so.';
COMMENT ON COLUMN sexton.delivery.ended_at IS 'When it was sent or given up.';
COMMENT ON COLUMN sexton.delivery.error IS 'What went wrong last.';

CREATE TABLE sexton.throttle (
  channel  text   NOT NULL,
  job_id   bigint NOT NULL,
  event    text   NOT NULL,
  heard_at timestamptz NOT NULL,
  told_at  timestamptz NOT NULL,
  gap      interval NOT NULL,
  delivery_id bigint,
  PRIMARY KEY (channel, job_id, event)
);
CREATE INDEX throttle_heard_at ON sexton.throttle (heard_at);
COMMENT ON TABLE  sexton.throttle IS 'How often a channel hears of the same trouble of a job: the first at once, then at growing distance.';
COMMENT ON INDEX  sexton.throttle_heard_at IS 'Its pruning.';
COMMENT ON COLUMN sexton.throttle.channel IS 'Who hears.';
COMMENT ON COLUMN sexton.throttle.job_id IS 'Of which job.';
COMMENT ON COLUMN sexton.throttle.event IS 'Of what.';
COMMENT ON COLUMN sexton.throttle.heard_at IS 'When it happened last.';
COMMENT ON COLUMN sexton.throttle.told_at IS 'When it was, or will be, told last.';
COMMENT ON COLUMN sexton.throttle.gap IS 'The distance to the next: 5 minutes after the first, doubling up to a day. A day of quiet, or twice the gap, begins anew.';
COMMENT ON COLUMN sexton.throttle.delivery_id IS 'What is to be sent at told_at: the next one takes its place, and counts it.';

CREATE TABLE sexton.alarm (
  job_id    bigint NOT NULL,
  event     text   NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (job_id, event)
);
COMMENT ON TABLE  sexton.alarm IS 'Troubles that last and were noticed once: whichever replica sees one first writes the row and the notice; the row goes when the trouble is over.';
COMMENT ON COLUMN sexton.alarm.job_id IS 'Of which job.';
COMMENT ON COLUMN sexton.alarm.event IS 'overdue or lock_held_by_stranger.';
COMMENT ON COLUMN sexton.alarm.raised_at IS 'Since when it is known.';

-- For the look after overdue jobs; none of its columns changes with a claim, which stays a HOT update.
CREATE INDEX job_expecting ON sexton.job (id) WHERE expect_success_every IS NOT NULL;
COMMENT ON INDEX sexton.job_expecting IS 'The jobs that may be overdue.';

-- ---------------------------------------------------------------------------------------------------------
-- Who hears of what
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.channel_fault(p_channel text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN p_channel IS NULL OR p_channel !~ ('^((mail|webhook):[A-Za-z0-9][A-Za-z0-9._~-]{0,99}'
                   || '|mail:[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?)$')
              THEN format('"%s" is no channel: write mail:ADDRESS, mail:NAME or webhook:NAME', p_channel) END $$;
COMMENT ON FUNCTION sexton.channel_fault(text) IS 'Why something cannot be a channel; NULL: it can.';

CREATE FUNCTION sexton.events_fault(p_events text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN coalesce(cardinality(p_events), 0) = 0 THEN 'no events are named' ELSE (
    SELECT format('"%s" is no event: these are started, succeeded, failed, refused, recovered, changed, overdue, '
                  || 'paused_itself, lock_held_by_stranger, channel_off, adopt_needed', e)
      FROM unnest(p_events) e
     WHERE e IS NULL OR e <> ALL ('{started,succeeded,failed,refused,recovered,changed,overdue,paused_itself,lock_held_by_stranger,channel_off,adopt_needed}')
     LIMIT 1) END $$;
COMMENT ON FUNCTION sexton.events_fault(text[]) IS 'What is wrong with a list of events; NULL: nothing.';

CREATE FUNCTION sexton.notices_fault(p_notices jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item jsonb;
  odd text;
  fault text;
BEGIN
  IF jsonb_typeof(p_notices) IS DISTINCT FROM 'array' THEN
    RETURN 'they are no array';
  END IF;
  FOR item IN SELECT * FROM jsonb_array_elements(p_notices) LOOP
    IF jsonb_typeof(item) <> 'object' THEN
      RETURN format('%s is no object with "on" and "to"', item);
    END IF;
    SELECT key INTO odd FROM jsonb_object_keys(item) key WHERE key NOT IN ('on', 'to') LIMIT 1;
    IF odd IS NOT NULL THEN
      RETURN format('"%s" is not known; known are "on" and "to"', odd);
    ELSIF jsonb_typeof(item -> 'on') IS DISTINCT FROM 'array' THEN
      RETURN '"on" is no array of events';
    END IF;
    fault := coalesce(sexton.channel_fault(item ->> 'to'), sexton.events_fault(ARRAY(SELECT jsonb_array_elements_text(item -> 'on'))));
    IF fault IS NOT NULL THEN
      RETURN fault;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION sexton.notices_fault(jsonb) IS 'What is wrong with a job''s notices; NULL: nothing.';

-- By the owner's rights: whoever may write a job needs none on the functions that judge it.
CREATE FUNCTION sexton.notices_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fault text := sexton.notices_fault(NEW.notices);
BEGIN
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION 'job %: notices: %', NEW.name, fault USING ERRCODE = 'SX006',
      HINT = 'Write [{"on": ["failed"], "to": "mail:ops@example.org"}]; docs/notices.md lists events and channels.';
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.notices_guard() IS 'Refuses notices of a job that nobody could send.';
CREATE TRIGGER notices BEFORE INSERT OR UPDATE OF notices ON sexton.job
  FOR EACH ROW EXECUTE FUNCTION sexton.notices_guard();
COMMENT ON TRIGGER notices ON sexton.job IS 'See sexton.notices_guard().';

CREATE FUNCTION sexton.subscribe(channel text, events text[] DEFAULT '{failed,refused,recovered,overdue,paused_itself,lock_held_by_stranger}',
  jobs text DEFAULT '*') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  fault text := coalesce(sexton.channel_fault(subscribe.channel), sexton.events_fault(subscribe.events),
    CASE WHEN subscribe.jobs IS NULL OR subscribe.jobs !~ '^[A-Za-z0-9._~*-]{1,100}$'
         THEN format('"%s" names no jobs: write a name, with * for any characters', subscribe.jobs) END);
BEGIN
  IF fault IS NOT NULL THEN
    RAISE EXCEPTION 'subscribe: %', fault USING ERRCODE = 'SX006',
      HINT = 'SELECT sexton.subscribe(''mail:ops@example.org'', ''{failed,refused}'', ''audit-*'');';
  END IF;
  INSERT INTO sexton.subscription AS s (channel, events, jobs, subscribed_by)
    VALUES (subscribe.channel, subscribe.events, subscribe.jobs, sexton.actor())
    ON CONFLICT ON CONSTRAINT subscription_channel_jobs_key DO UPDATE SET events = excluded.events,
      subscribed_at = clock_timestamp(), subscribed_by = excluded.subscribed_by;
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'subscribe',
    jsonb_build_object('channel', subscribe.channel, 'events', subscribe.events, 'jobs', subscribe.jobs));
  RETURN format('%s hears of %s of %s.', subscribe.channel, array_to_string(subscribe.events, ', '),
    CASE subscribe.jobs WHEN '*' THEN 'all jobs' ELSE subscribe.jobs END);
END $$;
COMMENT ON FUNCTION sexton.subscribe(text, text[], text) IS
  'Lets a channel hear of these events of all jobs of this name, in which * stands for any characters. Again for the same channel and jobs: other events.';

CREATE FUNCTION sexton.unsubscribe(channel text, jobs text DEFAULT '*') RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM sexton.subscription s WHERE s.channel = unsubscribe.channel AND s.jobs = unsubscribe.jobs;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'unsubscribe: % is not subscribed to %', unsubscribe.channel, unsubscribe.jobs USING ERRCODE = 'SX006',
      HINT = coalesce('There are: ' || (SELECT string_agg(s.channel || ' to ' || s.jobs, ', ' ORDER BY s.id) FROM sexton.subscription s),
        'Nobody is; the column notices of a job is changed where the job is written.');
  END IF;
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'unsubscribe',
    jsonb_build_object('channel', unsubscribe.channel, 'jobs', unsubscribe.jobs));
  RETURN format('%s no longer hears of %s.', unsubscribe.channel, unsubscribe.jobs);
END $$;
COMMENT ON FUNCTION sexton.unsubscribe(text, text) IS 'Ends what subscribe() began.';

CREATE FUNCTION sexton.channels_for(p_event text, j sexton.job) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(DISTINCT w.channel ORDER BY w.channel), '{}') FROM (
    SELECT n ->> 'to' AS channel FROM jsonb_array_elements(j.notices) n WHERE n -> 'on' ? p_event
    UNION ALL
    SELECT s.channel FROM sexton.subscription s
     WHERE p_event = ANY (s.events) AND (j.id IS NULL OR j.name LIKE replace(replace(s.jobs, '_', '\_'), '*', '%'))
    UNION ALL
    SELECT n ->> 'to' FROM sexton.job k CROSS JOIN jsonb_array_elements(k.notices) n WHERE j.id IS NULL AND n -> 'on' ? p_event) w $$;
COMMENT ON FUNCTION sexton.channels_for(text, sexton.job) IS
  'The channels that hear of this event of this job; without a job, those of any. Internal.';

-- ---------------------------------------------------------------------------------------------------------
-- To whom a notice goes, and when
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.address_notice(p_notice bigint, p_channels text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n sexton.notice;
  t sexton.throttle;
  target text;
  due timestamptz;
  held bigint;
  sent_by bigint;
BEGIN
  SELECT * INTO STRICT n FROM sexton.notice WHERE id = p_notice;
  FOREACH target IN ARRAY p_channels LOOP
    due := n.at;
    held := 0;
    t := NULL;
    IF n.job_id IS NOT NULL AND n.event = ANY ('{failed,refused,recovered,overdue,lock_held_by_stranger}') THEN
      SELECT * INTO t FROM sexton.throttle k WHERE (k.channel, k.job_id, k.event) = (target, n.job_id, n.event) FOR NO KEY UPDATE;
      IF t.told_at IS NULL OR (t.told_at <= n.at AND n.at - t.heard_at >= greatest(t.gap * 2, interval '1 day')) THEN
        t.gap := interval '5 minutes';
      ELSIF t.told_at > n.at THEN
        -- One is to come already: this one takes its place, and says how many there were.
        due := t.told_at;
        UPDATE sexton.delivery d SET state = 'held_back', ended_at = n.at
         WHERE d.id = t.delivery_id AND d.state = 'waiting' AND d.attempt = 0 RETURNING d.held_back + 1 INTO held;
        held := coalesce(held, 0);
      ELSE
        due := greatest(n.at, t.told_at + t.gap);
        t.gap := least(t.gap * 2, interval '1 day');
      END IF;
    END IF;
    INSERT INTO sexton.delivery (notice_id, channel, due_at, held_back) VALUES (n.id, target, due, held)
      ON CONFLICT (notice_id, channel) DO NOTHING RETURNING id INTO sent_by;
    IF t.gap IS NOT NULL THEN
      INSERT INTO sexton.throttle (channel, job_id, event, heard_at, told_at, gap, delivery_id)
        VALUES (target, n.job_id, n.event, n.at, due, t.gap, sent_by)
        ON CONFLICT (channel, job_id, event) DO UPDATE SET heard_at = excluded.heard_at, told_at = excluded.told_at,
          gap = excluded.gap, delivery_id = excluded.delivery_id;
    END IF;
  END LOOP;
  IF p_channels <> '{}' THEN
    PERFORM sexton.wake(0);
  END IF;
END $$;
COMMENT ON FUNCTION sexton.address_notice(bigint, text[]) IS
  'Puts a notice on its way to channels. What tells of the same trouble of a job again is held back, at growing distance. Internal.';

-- Whoever writes a notice, it is addressed in the same transaction.
CREATE FUNCTION sexton.notice_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  channels text[];
BEGIN
  SELECT * INTO j FROM sexton.job k WHERE k.id = NEW.job_id;
  channels := sexton.channels_for(NEW.event, j);
  IF NEW.event = 'changed' AND jsonb_typeof(NEW.payload -> 'recipients') = 'array' THEN
    -- Addresses from the application's data: one that is none must not undo the change that it is about.
    channels := channels || ARRAY(SELECT 'mail:' || r FROM jsonb_array_elements_text(NEW.payload -> 'recipients') r
                                   WHERE sexton.channel_fault('mail:' || r) IS NULL AND r LIKE '%@%');
  ELSIF NEW.event = 'channel_off' THEN
    -- Elsewhere: to all who hear of failures, too.
    channels := array_remove(channels || sexton.channels_for('failed', NULL), NEW.payload ->> 'channel');
  END IF;
  PERFORM sexton.address_notice(NEW.id, ARRAY(SELECT DISTINCT c FROM unnest(channels) c ORDER BY c));
  RETURN NEW;
END $$;
COMMENT ON FUNCTION sexton.notice_written() IS
  'Puts a notice on its way to those who subscribed, and a "changed" to the recipients in its payload as well.';
CREATE TRIGGER written AFTER INSERT ON sexton.notice FOR EACH ROW EXECUTE FUNCTION sexton.notice_written();
COMMENT ON TRIGGER written ON sexton.notice IS 'See sexton.notice_written().';

-- ---------------------------------------------------------------------------------------------------------
-- What replicas do
-- ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION sexton.is_reached(p_channel text, p_channels text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT p_channel = ANY (p_channels) OR ('mail:@' = ANY (p_channels) AND p_channel LIKE 'mail:%@%') $$;
COMMENT ON FUNCTION sexton.is_reached(text, text[]) IS 'Whether a replica that sends to these channels reaches this one; mail:@ stands for all addresses.';

CREATE FUNCTION sexton.deliveries_next(p_channels text[]) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT greatest(d.due_at, c.retry_at) FROM sexton.delivery d LEFT JOIN sexton.channel c ON c.name = d.channel
   WHERE d.state = 'waiting' AND greatest(d.due_at, c.retry_at) > now() AND c.off_at IS NULL
     AND sexton.is_reached(d.channel, p_channels)
   ORDER BY d.due_at LIMIT 1 $$;
COMMENT ON FUNCTION sexton.deliveries_next(text[]) IS 'When a replica that sends to these channels has something to send next; NULL: nothing.';

CREATE FUNCTION sexton.take_deliveries(p_replica uuid, p_channels text[], p_most int, p_lease interval)
RETURNS TABLE (delivery bigint, attempt int, key uuid, channel text, held_back bigint, event text, at timestamptz,
               app text, job text, run_id uuid, payload_version int, payload jsonb)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH found AS (
    SELECT d.id FROM sexton.delivery d
     WHERE d.state = 'waiting' AND d.due_at <= now() AND sexton.is_reached(d.channel, p_channels)
       AND NOT EXISTS (SELECT FROM sexton.channel c WHERE c.name = d.channel AND (c.off_at IS NOT NULL OR c.retry_at > now()))
     ORDER BY d.due_at LIMIT p_most FOR NO KEY UPDATE SKIP LOCKED),
  taken AS (
    UPDATE sexton.delivery d SET attempt = d.attempt + 1, due_at = clock_timestamp() + p_lease,
           taken_at = clock_timestamp(), taken_by = p_replica
      FROM found f WHERE d.id = f.id RETURNING d.*)
  SELECT t.id, t.attempt, t.key, t.channel, t.held_back, n.event, n.at, n.app, n.job_name, n.run_id, n.payload_version, n.payload
    FROM taken t JOIN sexton.notice n ON n.id = t.notice_id ORDER BY t.id $$;
COMMENT ON FUNCTION sexton.take_deliveries(uuid, text[], int, interval) IS
  'Takes deliveries that are due, for this long: afterwards another replica takes them. Channels that are off, or rest after a failure, are left alone.';

CREATE FUNCTION sexton.note_delivery(p_delivery bigint, p_attempt int, p_error text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  d sexton.delivery;
  c sexton.channel;
  before sexton.channel;
BEGIN
  SELECT * INTO d FROM sexton.delivery k WHERE k.id = p_delivery AND k.attempt = p_attempt AND k.state = 'waiting' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN 'superseded';
  END IF;
  INSERT INTO sexton.channel (name) VALUES (d.channel) ON CONFLICT (name) DO NOTHING;
  IF p_error IS NULL THEN
    UPDATE sexton.delivery k SET state = 'sent', ended_at = clock_timestamp(), error = NULL WHERE k.id = d.id;
    UPDATE sexton.channel k SET failures = 0, retry_at = NULL, error = NULL, sent_at = clock_timestamp() WHERE k.name = d.channel;
    RETURN 'sent';
  END IF;
  SELECT * INTO STRICT before FROM sexton.channel k WHERE k.name = d.channel FOR NO KEY UPDATE;
  -- What was under way when it failed says nothing new.
  IF before.failed_at IS NULL OR d.taken_at > before.failed_at THEN
    UPDATE sexton.channel k SET failures = k.failures + 1, failed_at = clock_timestamp(), error = left(p_error, 1000),
           retry_at = clock_timestamp() + least(interval '30 seconds' * power(2, least(k.failures, 20)), interval '1 hour')
                                          * (1 + random() / 4),
           off_at = CASE WHEN k.failures + 1 >= 10 THEN coalesce(k.off_at, clock_timestamp()) ELSE k.off_at END
     WHERE k.name = d.channel RETURNING * INTO c;
  END IF;
  UPDATE sexton.delivery k SET error = left(p_error, 1000), taken_by = NULL,
         due_at = clock_timestamp() + least(interval '30 seconds' * power(2, least(k.attempt - 1, 20)), interval '1 hour') * (1 + random() / 4),
         state = CASE WHEN k.attempt >= 20 THEN 'failed' ELSE 'waiting' END,
         ended_at = CASE WHEN k.attempt >= 20 THEN clock_timestamp() END
   WHERE k.id = d.id;
  IF c.off_at IS NOT NULL AND before.off_at IS NULL THEN
    INSERT INTO sexton.notice (event, payload) VALUES ('channel_off',
      jsonb_build_object('channel', c.name, 'failures', c.failures, 'error', c.error));
    RETURN 'off';
  END IF;
  RETURN (SELECT k.state FROM sexton.delivery k WHERE k.id = d.id);
END $$;
COMMENT ON FUNCTION sexton.note_delivery(bigint, int, text) IS
  'What came of an attempt: sent, or why not. It is tried again after 30 seconds, doubling up to an hour. Answers sent, waiting, failed (given up after 20 attempts), off (its tenth failure in a row switched the channel off), superseded (another replica took it meanwhile).';

CREATE FUNCTION sexton.raise_alarms() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  j sexton.job;
  stranger record;
  raised bigint := 0;
  overdue bigint[];
  blocked bigint[];
BEGIN
  SELECT coalesce(array_agg(k.id), '{}') INTO overdue
    FROM sexton.job k
    LEFT JOIN LATERAL (SELECT r.finished_at FROM sexton.run r WHERE r.job_id = k.id AND r.state = 'succeeded'
                        ORDER BY r.occurrence DESC LIMIT 1) s ON true
   WHERE k.expect_success_every IS NOT NULL AND k.removed_at IS NULL
     AND coalesce(s.finished_at, k.created_at) + k.expect_success_every < clock_timestamp();
  -- A replica that tries for a job holds its lock for milliseconds, and says who it is.
  SELECT coalesce(array_agg(k.id), '{}') INTO blocked
    FROM (SELECT b.id, sexton.lock_holder(b.lock_id) AS pid FROM sexton.job b
           WHERE b.due_at < now() - interval '1 minute' AND b.state = 'idle' ORDER BY b.due_at LIMIT 100) k
    JOIN pg_stat_activity a ON a.pid = k.pid AND a.application_name NOT LIKE 'sexton/%';
  DELETE FROM sexton.alarm a WHERE (a.event = 'overdue' AND a.job_id <> ALL (overdue))
                                OR (a.event = 'lock_held_by_stranger' AND a.job_id <> ALL (blocked));
  FOR j IN SELECT k.* FROM sexton.job k WHERE k.id = ANY (overdue)
            AND NOT EXISTS (SELECT FROM sexton.alarm a WHERE a.job_id = k.id AND a.event = 'overdue') ORDER BY k.id LOOP
    INSERT INTO sexton.alarm (job_id, event) VALUES (j.id, 'overdue') ON CONFLICT DO NOTHING;
    IF FOUND THEN
      raised := raised + 1;
      PERFORM sexton.put_notice('overdue', j, NULL, jsonb_build_object('kind', j.kind, 'expect_success_every', j.expect_success_every::text,
        'last_success_at', (SELECT s.last_success_at FROM sexton.jobs s WHERE s.id = j.id), 'why', sexton.why(j.name)));
    END IF;
  END LOOP;
  FOR j IN SELECT k.* FROM sexton.job k WHERE k.id = ANY (blocked)
            AND NOT EXISTS (SELECT FROM sexton.alarm a WHERE a.job_id = k.id AND a.event = 'lock_held_by_stranger') ORDER BY k.id LOOP
    INSERT INTO sexton.alarm (job_id, event) VALUES (j.id, 'lock_held_by_stranger') ON CONFLICT DO NOTHING;
    IF FOUND THEN
      raised := raised + 1;
      PERFORM sexton.put_notice('lock_held_by_stranger', j, NULL, jsonb_build_object('kind', j.kind,
        'backend_pid', sexton.lock_holder(j.lock_id), 'due_at', j.due_at, 'why', sexton.why(j.name)));
    END IF;
  END LOOP;
  -- What nobody sends is given up: it would be news no more.
  UPDATE sexton.delivery d SET state = 'failed', ended_at = clock_timestamp(),
         error = coalesce(d.error, 'no replica sends to this channel')
   WHERE d.state = 'waiting' AND d.taken_by IS NULL AND d.due_at < now() - interval '1 day'
     AND (d.due_at < now() - interval '7 days'
          OR EXISTS (SELECT FROM sexton.channel c WHERE c.name = d.channel AND c.off_at IS NOT NULL));
  DELETE FROM sexton.throttle t WHERE t.heard_at < clock_timestamp() - interval '10 days';
  RETURN raised;
END $$;
COMMENT ON FUNCTION sexton.raise_alarms() IS
  'Notices jobs that became overdue, and due ones whose lock a stranger has held for a minute: each once, by whichever replica looks first. Gives up deliveries that have waited for a week, or for a day while their channel was off. Returns how many are new.';

CREATE FUNCTION sexton.channel_on(channel text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  waiting bigint;
BEGIN
  UPDATE sexton.channel c SET off_at = NULL, failures = 0, retry_at = NULL, error = NULL
   WHERE c.name = channel_on.channel AND (c.off_at IS NOT NULL OR c.failures > 0);
  IF NOT FOUND THEN
    RETURN format('%s was not off.', channel_on.channel);
  END IF;
  UPDATE sexton.delivery d SET state = 'failed', ended_at = clock_timestamp(), error = 'older than a day when its channel was switched on'
    FROM sexton.notice n
   WHERE n.id = d.notice_id AND d.channel = channel_on.channel AND d.state = 'waiting' AND n.at < clock_timestamp() - interval '1 day';
  UPDATE sexton.delivery d SET due_at = least(d.due_at, clock_timestamp())
   WHERE d.channel = channel_on.channel AND d.state = 'waiting' AND d.attempt > 0 AND d.taken_by IS NULL;
  SELECT count(*) INTO waiting FROM sexton.delivery d WHERE d.channel = channel_on.channel AND d.state = 'waiting';
  INSERT INTO sexton.audit (actor, verb, detail) VALUES (sexton.actor(), 'channel_on', jsonb_build_object('channel', channel_on.channel));
  PERFORM sexton.wake(0);
  RETURN format('%s is on; %s notice(s) of the last day wait for it.', channel_on.channel, waiting);
END $$;
COMMENT ON FUNCTION sexton.channel_on(text) IS
  'Switches a channel on that failed ten times in a row. What waited for it for less than a day is sent.';

-- ---------------------------------------------------------------------------------------------------------
-- For people
-- ---------------------------------------------------------------------------------------------------------

CREATE VIEW sexton.notices AS
SELECT n.id, n.at, n.event, n.job_name AS job, n.run_id, d.channel,
       CASE WHEN d.state = 'waiting' AND c.off_at IS NOT NULL THEN 'off'
            WHEN d.state = 'waiting' AND d.attempt > 0 THEN 'retrying'
            ELSE coalesce(d.state, 'nobody') END AS state,
       d.attempt, d.held_back, CASE WHEN d.state = 'waiting' THEN greatest(d.due_at, c.retry_at) END AS due_at, d.ended_at,
       d.error, n.payload_version, n.payload
  FROM sexton.notice n
  LEFT JOIN sexton.delivery d ON d.notice_id = n.id
  LEFT JOIN sexton.channel c ON c.name = d.channel;
COMMENT ON VIEW sexton.notices IS 'The notices, and what became of each on its way to each channel: waiting, retrying, sent, held_back, failed, off; nobody: no channel hears of it.';

CREATE VIEW sexton.channels AS
SELECT k.name AS channel, CASE WHEN c.off_at IS NOT NULL THEN 'off' WHEN c.failures > 0 THEN 'failing' ELSE 'on' END AS state,
       coalesce(c.failures, 0) AS failures, c.off_at, c.retry_at, c.sent_at, c.error, coalesce(w.waiting, 0) AS waiting, w.since
  FROM (SELECT name FROM sexton.channel
        UNION SELECT channel FROM sexton.subscription
        UNION SELECT n ->> 'to' FROM sexton.job j CROSS JOIN pg_catalog.jsonb_array_elements(j.notices) n
        UNION SELECT channel FROM sexton.delivery WHERE state = 'waiting') k
  LEFT JOIN sexton.channel c ON c.name = k.name
  LEFT JOIN LATERAL (SELECT count(*) AS waiting, min(d.due_at) AS since FROM sexton.delivery d
                      WHERE d.channel = k.name AND d.state = 'waiting') w ON true;
COMMENT ON VIEW sexton.channels IS 'The channels that somebody named or that something was sent to, and what waits for each.';
