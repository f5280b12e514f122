-- Tables for purges, and the oracle that knows which rows may go. A row that may go is old and not kept; the rest is
-- young, or kept, or without an age. `chaos.born` notes each row when it is inserted, by another trigger than the one
-- that notes its end.
CREATE TABLE chaos.born (target text NOT NULL, id bigint NOT NULL, doomed boolean NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION chaos.note_born() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO chaos.born (target, id, doomed)
    SELECT TG_TABLE_NAME, b.id, coalesce(b.created_at < now() - interval '2 hours' AND NOT b.keep, false) FROM born b;
  RETURN NULL;
END $$;
CREATE TABLE public.by_index (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz, keep boolean NOT NULL DEFAULT false, filler text);
CREATE INDEX ON public.by_index (created_at);
CREATE TABLE public.by_heap (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz, keep boolean NOT NULL DEFAULT false, filler text);
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY '{by_index,by_heap}'::text[] LOOP
    EXECUTE format('CREATE TRIGGER born AFTER INSERT ON public.%I REFERENCING NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_born()', t);
    EXECUTE format('CREATE TRIGGER gone AFTER DELETE ON public.%I REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION chaos.note_gone()', t);
  END LOOP;
END $$;
CREATE FUNCTION chaos.breed(count int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO public.by_index (created_at, keep, filler) SELECT CASE i % 5 WHEN 0 THEN now() WHEN 1 THEN NULL ELSE now() - i * interval '3 hours' END, i % 7 = 0, repeat('x', 60) FROM generate_series(1, count) i;
  INSERT INTO public.by_heap (created_at, keep, filler) SELECT CASE i % 5 WHEN 0 THEN now() WHEN 1 THEN NULL ELSE now() - i * interval '3 hours' END, i % 7 = 0, repeat('x', 60) FROM generate_series(1, count) i;
$$;
CREATE VIEW chaos.wrong AS
  SELECT format('%s: row %s was deleted though it may not be', g.target, g.id) AS what FROM chaos.gone g JOIN chaos.born b USING (target, id) WHERE NOT b.doomed
  UNION ALL SELECT format('%s: row %s was deleted twice', target, id) FROM chaos.gone GROUP BY target, id HAVING count(*) > 1
  UNION ALL SELECT format('by_index: row %s vanished', b.id) FROM chaos.born b WHERE b.target = 'by_index'
    AND NOT EXISTS (SELECT FROM public.by_index t WHERE t.id = b.id) AND NOT EXISTS (SELECT FROM chaos.gone g WHERE (g.target, g.id) = (b.target, b.id))
  UNION ALL SELECT format('by_heap: row %s vanished', b.id) FROM chaos.born b WHERE b.target = 'by_heap'
    AND NOT EXISTS (SELECT FROM public.by_heap t WHERE t.id = b.id) AND NOT EXISTS (SELECT FROM chaos.gone g WHERE (g.target, g.id) = (b.target, b.id));
CREATE VIEW chaos.left_over AS
  SELECT count(*) AS rows FROM (SELECT id, created_at, keep FROM public.by_index UNION ALL SELECT id, created_at, keep FROM public.by_heap) t
   WHERE created_at < now() - interval '2 hours' AND NOT keep;
