-- Rows that all attempts for the same occurrence deleted so far, this run's included. $1 run id. One row: the sum.
SELECT coalesce(sum(p.rows), 0)::bigint
  FROM sexton.run me
  JOIN sexton.run r ON r.job_id = me.job_id AND r.occurrence = me.occurrence AND r.revision = me.revision
                   AND r.mode = me.mode AND r.options = me.options AND r.inputs = me.inputs
  JOIN sexton.run_part p ON p.run_id = r.id
 WHERE me.id = $1
