-- The audit log as it is, against the fingerprints taken before. $1 the run's cutoff, as text.
-- One row: rows eligible before; rows eligible now; rows to be kept, kept; whether these are the same ones;
-- rows that the database saw deleted.
WITH cut AS (SELECT $1::text::timestamptz AS off),
     gone AS (SELECT count(*) AS rows FROM demo.audit_log_before b, cut WHERE b.created_at < cut.off),
     want AS (SELECT count(*) AS rows, coalesce(sum(b.fingerprint), 0) AS fingerprint
                FROM demo.audit_log_before b, cut WHERE (b.created_at < cut.off) IS NOT TRUE),
     have AS (SELECT count(*) AS rows, coalesce(sum(hashtextextended(a::text, 0)), 0) AS fingerprint,
                     count(*) FILTER (WHERE a.created_at < cut.off) AS eligible
                FROM public.audit_log a, cut)
SELECT gone.rows, have.eligible, want.rows, have.rows, want.fingerprint = have.fingerprint,
       (SELECT coalesce(sum(d.rows), 0)::bigint FROM demo.deletion d)
  FROM gone, want, have
