-- Tables for purges, and the oracle that knows which rows may go. A row that may go is older than an hour and not kept;
-- the rest is up to 40 minutes old, or kept, or without an age. `chaos.born` notes each row when it is inserted, by another trigger than the one
-- that notes its end. Rows that go along (children) and rows that are kept elsewhere (archives) are judged by the
-- transaction that they went in.
CREATE TABLE chaos.born (target text NOT NULL, id bigint NOT NULL, doomed boolean NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION chaos.note_born() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos.born (target, id, doomed)
    SELECT TG_TABLE_NAME, b.id, coalesce(b.created_at < now() - interval '1 hour' AND NOT b.keep, false) FROM born b;
  RETURN NULL;
END $$;
CREATE TABLE chaos.rescued (target text NOT NULL, id bigint NOT NULL);
CREATE FUNCTION chaos.note_rescued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos.rescued (target, id) VALUES (TG_TABLE_NAME, NEW.id);
  RETURN NULL;
END $$;
CREATE TABLE chaos.child_gone (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), target text NOT NULL, id bigint NOT NULL, parent bigint NOT NULL);
CREATE FUNCTION chaos.note_child_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.child_gone (target, id, parent) SELECT TG_TABLE_NAME, g.id, g.parent FROM gone g;
  RETURN NULL;
END $$;
-- Holds on by_index, each on the rows whose id has this last digit, and their ends.
CREATE TABLE chaos.held (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), hold_id bigint NOT NULL, digit int NOT NULL, lifted boolean NOT NULL);
CREATE FUNCTION chaos.note_hold() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO chaos.held (hold_id, digit, lifted) VALUES (NEW.id, right(NEW.predicate, 1)::int, NEW.lifted_at IS NOT NULL);
  RETURN NULL;
END $$;
CREATE TRIGGER chaos AFTER INSERT OR UPDATE ON sexton.hold FOR EACH ROW WHEN (NEW.reason = 'storm') EXECUTE FUNCTION chaos.note_hold();

DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY '{by_index,by_heap,by_workers,by_child}'::text[] LOOP
    EXECUTE format('CREATE TABLE public.%I (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz, keep boolean NOT NULL DEFAULT false, filler text)', t);
    EXECUTE format('CREATE TRIGGER born AFTER INSERT ON public.%I REFERENCING NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_born()', t);
    EXECUTE format('CREATE TRIGGER rescued AFTER UPDATE OF keep ON public.%I FOR EACH ROW WHEN (NEW.keep) EXECUTE FUNCTION chaos.note_rescued()', t);
    EXECUTE format('CREATE TRIGGER gone AFTER DELETE ON public.%I REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_gone()', t);
  END LOOP;
END $$;
CREATE INDEX ON public.by_index (created_at);
CREATE INDEX ON public.by_child (created_at);
CREATE TABLE public.items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent bigint NOT NULL REFERENCES public.by_child);
CREATE INDEX ON public.items (parent);
CREATE TRIGGER gone AFTER DELETE ON public.items REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_child_gone();
CREATE TABLE public.by_workers_kept (id bigint NOT NULL, created_at timestamptz, keep boolean NOT NULL, filler text, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE TABLE public.items_kept (id bigint NOT NULL, parent bigint NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON public.by_workers_kept (id);
CREATE INDEX ON public.items_kept (id);
CREATE INDEX ON chaos.gone (target, id);
CREATE INDEX ON chaos.child_gone (target, parent);

CREATE FUNCTION chaos.breed(count int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY '{by_index,by_heap,by_workers,by_child}'::text[] LOOP
    -- Enough blocks to be cut into parts, for the one that has workers.
    EXECUTE format(
      'INSERT INTO public.%I (created_at, keep, filler)
         SELECT CASE i %% 5 WHEN 0 THEN now() - i %% 10 * interval ''8 minutes'' WHEN 1 THEN NULL ELSE now() - interval ''61 minutes'' - i / 5 * interval ''3 hours'' END, i %% 7 = 0, repeat(''x'', $2)
           FROM generate_series(1, $1) i', t)
      USING count, CASE t WHEN 'by_workers' THEN 900 ELSE 60 END;
  END LOOP;
  INSERT INTO public.items (parent) SELECT p.id FROM public.by_child p, generate_series(1, 2)
   WHERE p.id % 3 > 0 AND NOT EXISTS (SELECT FROM public.items i WHERE i.parent = p.id);
END $$;
CREATE VIEW chaos.there AS
  SELECT 'by_index' AS target, id, created_at, keep FROM public.by_index
  UNION ALL SELECT 'by_heap', id, created_at, keep FROM public.by_heap
  UNION ALL SELECT 'by_workers', id, created_at, keep FROM public.by_workers
  UNION ALL SELECT 'by_child', id, created_at, keep FROM public.by_child;
-- Rows that are always added to both together, for backups: in one snapshot there are as many of either.
CREATE TABLE public.pairs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, twin uuid NOT NULL, filler text NOT NULL);
CREATE TABLE public.twins (id uuid PRIMARY KEY);
CREATE FUNCTION chaos.pair(count int) RETURNS void LANGUAGE sql AS $$
  WITH twins AS (INSERT INTO public.twins SELECT gen_random_uuid() FROM generate_series(1, count) RETURNING id)
  INSERT INTO public.pairs (twin, filler) SELECT id, repeat(md5(id::text), 40) FROM twins $$;
CREATE VIEW chaos.wrong AS
  SELECT format('%s: row %s was deleted though it may not be', g.target, g.id) AS what FROM chaos.gone g JOIN chaos.born b USING (target, id) WHERE NOT b.doomed
  UNION ALL SELECT format('%s: row %s was deleted though it had been kept', r.target, r.id) FROM chaos.rescued r JOIN chaos.gone g USING (target, id)
  UNION ALL SELECT format('%s: row %s was deleted twice', target, id) FROM chaos.gone GROUP BY target, id HAVING count(*) > 1
  UNION ALL SELECT format('%s: row %s vanished', b.target, b.id)
    FROM chaos.born b LEFT JOIN chaos.there t USING (target, id) LEFT JOIN chaos.gone g USING (target, id)
   WHERE t.id IS NULL AND g.id IS NULL
  UNION ALL SELECT format('items: row %s went, not in the transaction of row %s that it belongs to', c.id, c.parent)
    FROM chaos.child_gone c LEFT JOIN chaos.gone g ON g.target = 'by_child' AND g.id = c.parent AND g.xid = c.xid WHERE g.id IS NULL
  UNION ALL SELECT format('by_workers: row %s is in the archive, but went in another transaction or not at all', k.id)
    FROM public.by_workers_kept k LEFT JOIN chaos.gone g ON g.target = 'by_workers' AND g.id = k.id AND g.xid = k.xid WHERE g.id IS NULL
  UNION ALL SELECT format('by_workers: row %s went and is %s times in the archive', g.id, count(k.id))
    FROM chaos.gone g LEFT JOIN public.by_workers_kept k ON k.id = g.id WHERE g.target = 'by_workers' GROUP BY g.id HAVING count(k.id) <> 1
  UNION ALL SELECT format('items: row %s went and is %s times in the archive', c.id, count(k.id))
    FROM chaos.child_gone c LEFT JOIN public.items_kept k ON k.id = c.id AND k.xid = c.xid GROUP BY c.id HAVING count(k.id) <> 1;
CREATE VIEW chaos.wrongly_held AS
  SELECT format('by_index: row %s was deleted though hold %s was on it', g.id, h.hold_id) AS what
    FROM chaos.gone g
    JOIN chaos.held h ON NOT h.lifted AND g.id % 10 = h.digit AND pg_xact_commit_timestamp(g.xid::xid) > pg_xact_commit_timestamp(h.xid::xid)
    LEFT JOIN chaos.held e ON e.hold_id = h.hold_id AND e.lifted
   WHERE g.target = 'by_index' AND (e.xid IS NULL OR pg_xact_commit_timestamp(g.xid::xid) < pg_xact_commit_timestamp(e.xid::xid));
CREATE VIEW chaos.left_over AS
  SELECT count(*) AS rows FROM chaos.there WHERE created_at < now() - interval '61 minutes' AND NOT keep;
