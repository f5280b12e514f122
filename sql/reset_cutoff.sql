-- Since when a row must be in its state to count as stuck, by calendar arithmetic that the session's TimeZone has no part
-- in. $1 the run's now, $2 the interval. One row: the instant.
SELECT pg_catalog.timezone('UTC', pg_catalog.timezone('UTC', $1::timestamptz) - $2::text::interval)
