-- What the runs of a job after its last success left open: receipts that they committed and may not have put into the
-- storage. $1 run id. One row for each occurrence of these runs: the instant, and the receipts as JSON. No locks.
WITH past AS (
  SELECT r.id, r.occurrence
    FROM sexton.run me
    JOIN sexton.run r ON r.job_id = me.job_id AND r.id <> me.id AND r.mode = 'real' AND r.state <> 'succeeded'
   WHERE me.id = $1
     AND NOT EXISTS (SELECT FROM sexton.run s WHERE s.job_id = r.job_id AND s.state = 'succeeded' AND s.mode = 'real'
                                                AND (s.epoch, s.version) > (r.epoch, r.version))
)
SELECT past.occurrence,
       coalesce(pg_catalog.jsonb_agg(DISTINCT found.receipt) FILTER (WHERE found.receipt IS NOT NULL), '[]') AS receipts
  FROM past
  LEFT JOIN sexton.run_part p ON p.run_id = past.id
  LEFT JOIN LATERAL pg_catalog.jsonb_path_query(p.cursor, '$.**.receipts[*]') AS found(receipt) ON true
 GROUP BY past.occurrence
