-- How the work stands. No parameters; one row; no locks.
-- Alive replicas and their slots, kinds of jobs that none of them knows, jobs whose needs none of them meets, orphaned jobs, invalid jobs, late ones.
SELECT (SELECT count(*) FROM sexton.replicas r WHERE r.alive) AS alive,
       (SELECT coalesce(sum(r.slots), 0)::bigint FROM sexton.replicas r WHERE r.alive) AS slots,
       (SELECT count(*) FROM sexton.job) AS jobs,
       ARRAY(SELECT DISTINCT j.kind FROM sexton.job j
              WHERE NOT EXISTS (SELECT 1 FROM sexton.replicas r WHERE r.alive AND j.kind = ANY (r.kinds)) ORDER BY 1) AS unknown,
       ARRAY(SELECT j.name FROM sexton.job j
              WHERE j.needs <> '{}' AND EXISTS (SELECT 1 FROM sexton.replicas r WHERE r.alive AND j.kind = ANY (r.kinds))
                AND NOT EXISTS (SELECT 1 FROM sexton.replicas r WHERE r.alive AND j.kind = ANY (r.kinds)
                                   AND sexton.lacks(j.needs, r.knows) = '{}') ORDER BY 1) AS lacking,
       ARRAY(SELECT o.name FROM sexton.orphan o ORDER BY 1) AS orphans,
       ARRAY(SELECT j.name FROM sexton.job j WHERE j.invalid_reason IS NOT NULL ORDER BY 1) AS invalid,
       ARRAY(SELECT o.job || ' (' || o.why || ')' FROM sexton.overdue o ORDER BY 1) AS overdue
