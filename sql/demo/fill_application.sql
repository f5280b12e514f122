-- Fills the application with two years of its life: 1,000,000 dated audit rows in the order of their age, many of
-- them of the same second, 1,000 without a date among them, 50,000 users of whom every tenth left, two addresses each,
-- 100,000 sessions of which every twentieth was never used.
-- Sent as one batch; no parameters, no rows. The indexes come last, since building them whole is quicker.
INSERT INTO public.users (email, created_at, deleted_at)
SELECT format('user%s@example.com', n),
       now() - interval '2 years' * random(),
       CASE WHEN n % 10 = 0 THEN now() - interval '200 days' * random() END
  FROM generate_series(1, 50000) AS n;

INSERT INTO public.addresses (user_id, city)
SELECT 1 + n % 50000, (ARRAY['Lisbon', 'Nairobi', 'Osaka', 'Quito', 'Tromsø'])[1 + n % 5]
  FROM generate_series(0, 99999) AS n;

INSERT INTO public.sessions (id, user_id, created_at, last_seen_at)
SELECT gen_random_uuid(), 1 + n % 50000, at, CASE WHEN n % 20 > 0 THEN at + interval '1 day' * random() END
  FROM (SELECT n, now() - interval '1 year' * random() AS at FROM generate_series(1, 100000) AS n) AS logins;

INSERT INTO public.audit_log (id, created_at, user_id, action, detail)
SELECT n,
       CASE WHEN n % 1001 > 0 THEN date_trunc('second', now() - interval '2 years' * (1 - n / 1001000.0)) END,
       1 + n % 50000,
       (ARRAY['login', 'logout', 'order.created', 'order.paid', 'password.changed'])[1 + n % 5],
       jsonb_build_object('address', format('203.0.113.%s', n % 255), 'agent', 'Mozilla/5.0', 'took_ms', n % 900)
  FROM generate_series(1, 1001000) AS n;

CREATE INDEX addresses_user_id ON public.addresses (user_id);
CREATE INDEX sessions_user_id ON public.sessions (user_id);
CREATE INDEX sessions_last_seen_at ON public.sessions (last_seen_at);
CREATE INDEX users_deleted_at ON public.users (deleted_at);
ALTER TABLE public.audit_log ADD PRIMARY KEY (id);
CREATE INDEX audit_log_created_at ON public.audit_log (created_at);
