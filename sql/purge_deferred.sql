-- The rows that a job left for later.
-- $1 job. A row for each class: how many, how many of them are not tried again, and when the first one is due.
SELECT d.class, pg_catalog.count(*) AS rows,
       pg_catalog.count(*) FILTER (WHERE d.next_try = 'infinity') AS given_up,
       pg_catalog.min(d.next_try) FILTER (WHERE d.next_try < 'infinity') AS next_try
  FROM sexton.deferred d
 WHERE d.job_id = $1
 GROUP BY d.class
 ORDER BY d.class
