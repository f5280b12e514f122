-- The application that the demo maintains: a shop with an audit log, sessions, and users who are deleted softly.
-- Sent as one batch; no parameters, no rows. Locks: none that anybody else could want, the database is the demo's own.
CREATE TABLE public.users (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email      text NOT NULL,
  created_at timestamptz NOT NULL,
  deleted_at timestamptz
);
COMMENT ON COLUMN public.users.deleted_at IS 'Set when somebody leaves; the row stays for a grace period.';

CREATE TABLE public.addresses (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES public.users ON DELETE CASCADE,
  city    text NOT NULL
);

CREATE TABLE public.sessions (
  id           uuid PRIMARY KEY,
  user_id      bigint NOT NULL REFERENCES public.users ON DELETE CASCADE,
  created_at   timestamptz NOT NULL,
  last_seen_at timestamptz
);
COMMENT ON COLUMN public.sessions.last_seen_at IS 'NULL: never used since the login.';

CREATE TABLE public.audit_log (
  id         bigint NOT NULL,
  created_at timestamptz,
  user_id    bigint NOT NULL,
  action     text NOT NULL,
  detail     jsonb NOT NULL
);
COMMENT ON COLUMN public.audit_log.created_at IS 'NULL: imported from a system that kept no dates.';
