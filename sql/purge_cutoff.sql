-- The cutoff of a purge, by calendar arithmetic that the session's TimeZone has no part in.
-- $1 the run's now, $2 retention, $3 time zone, $4 whether to count from the last midnight of that zone, $5 grace.
-- One row: the cutoff; the same as a wall clock of that zone (for timestamp columns) and as its date; the retention in
-- seconds; the wall clock that is counted back from. A month is a month of the UTC calendar when counted from now, of
-- the zone's when counted from midnight.
SELECT c.at, pg_catalog.timezone($3::text, c.at) AS wall, pg_catalog.timezone($3::text, c.at)::date AS day,
       extract(epoch FROM $2::text::interval)::float8 AS retention_s, b.base
  FROM (SELECT CASE WHEN $4::boolean THEN $3::text ELSE 'UTC' END AS calendar) AS z
  CROSS JOIN LATERAL (
    SELECT CASE WHEN $4::boolean THEN pg_catalog.date_trunc('day', pg_catalog.timezone(z.calendar, $1::timestamptz))
                ELSE pg_catalog.timezone(z.calendar, $1::timestamptz) END AS base) AS b
  CROSS JOIN LATERAL (
    SELECT pg_catalog.timezone(z.calendar, b.base - $2::text::interval - $5::text::interval) AS at) AS c
