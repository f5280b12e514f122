-- Partitions that runs of this job began to detach concurrently, and that are still there. $1 run id, $2 oid of the table.
-- A row for each, the oldest first: oid, quoted name, what the cursor remembers of it (its name and where it ended among
-- it), and how it stands: 'attached', 'pending' (the server was interrupted), 'detached', or 'elsewhere'. No locks.
SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, begun.told,
       CASE WHEN i.inhrelid IS NULL THEN 'detached'
            WHEN i.inhparent <> $2::oid THEN 'elsewhere'
            WHEN i.inhdetachpending THEN 'pending'
            ELSE 'attached' END AS state
  FROM (SELECT DISTINCT p.cursor -> 'detaching' AS told
          FROM sexton.run me
          JOIN sexton.run r ON r.job_id = me.job_id
          JOIN sexton.run_part p ON p.run_id = r.id AND p.cursor ? 'detaching'
         WHERE me.id = $1) AS begun
  JOIN pg_catalog.pg_class c ON c.oid = (begun.told ->> 'oid')::oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
 ORDER BY begun.told ->> 'upper', c.oid
