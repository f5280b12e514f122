-- The tables that nothing may touch, against the fingerprints taken before. No parameters.
-- A row for each that differs: its name.
SELECT b.name FROM demo.others_before b
 WHERE (b.name, b.rows, b.fingerprint) NOT IN (
   SELECT 'users', count(*), coalesce(sum(hashtextextended(u::text, 0)), 0) FROM public.users AS u
   UNION ALL
   SELECT 'addresses', count(*), coalesce(sum(hashtextextended(a::text, 0)), 0) FROM public.addresses AS a
   UNION ALL
   SELECT 'sessions', count(*), coalesce(sum(hashtextextended(s::text, 0)), 0) FROM public.sessions AS s)
