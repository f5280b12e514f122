-- What the verification needs, apart from anything that Sexton records about itself: a fingerprint of each audit row
-- as it was, of the other tables as wholes, and a trigger that notes how many rows each statement deleted, and on which session.
-- Sent as one batch; no parameters, no rows.
CREATE SCHEMA demo;

CREATE TABLE demo.audit_log_before AS
SELECT a.created_at, hashtextextended(a::text, 0) AS fingerprint FROM public.audit_log AS a;

CREATE TABLE demo.others_before AS
SELECT 'users' AS name, count(*) AS rows, coalesce(sum(hashtextextended(u::text, 0)), 0) AS fingerprint FROM public.users AS u
UNION ALL
SELECT 'addresses', count(*), coalesce(sum(hashtextextended(a::text, 0)), 0) FROM public.addresses AS a
UNION ALL
SELECT 'sessions', count(*), coalesce(sum(hashtextextended(s::text, 0)), 0) FROM public.sessions AS s;

CREATE TABLE demo.deletion (
  backend_pid int    NOT NULL DEFAULT pg_backend_pid(),
  rows        bigint NOT NULL
);

CREATE FUNCTION demo.note_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO demo.deletion (rows) SELECT count(*) FROM gone HAVING count(*) > 0;
  RETURN NULL;
END $$;

CREATE TRIGGER note_deletion AFTER DELETE ON public.audit_log
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION demo.note_deletion();
