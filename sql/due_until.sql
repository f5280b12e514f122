-- What a oneshot has to wait for: due by then or to be planned first, orphaned, or running by itself.
-- $1 the kinds that it knows, $2 seconds from its start, $3 its start or NULL for now, $4 its name as a holder,
-- $5 the names that it knows locally.
-- Rows: name, when it is due (NULL: to be planned), its state, the database's clock. No locks.
SELECT j.name, v.next_due_at AS due_at, v.state, pg_catalog.clock_timestamp() AS now
  FROM sexton.job j JOIN sexton.jobs v ON v.id = j.id
 WHERE j.kind = ANY ($1) AND j.invalid_reason IS NULL AND sexton.lacks(j.needs, $5) = '{}'
   AND CASE WHEN j.state = 'running' THEN j.holder = $4 OR EXISTS (SELECT 1 FROM sexton.orphan o WHERE o.id = j.id)
            WHEN v.state = 'paused' THEN false
            ELSE NOT j.planned OR j.validated_revision IS DISTINCT FROM j.revision
                 OR j.due_at <= coalesce($3, pg_catalog.clock_timestamp()) + pg_catalog.make_interval(secs => $2) END
 ORDER BY j.due_at NULLS FIRST, j.name
