-- Takes a due or orphaned job, on a session that already holds its advisory lock.
-- $1 job id, $2 version as read, $3 run id, $4 replica id, $5 holder in words, $6 program, $7 destructive, $8 outside.
-- One row: result won | settled | lost, and what came with it. Locks: meta FOR SHARE, the job's row, and
-- the key of its workers, all until it commits.
SELECT result, reason, version, epoch, occurrence, attempt, revision, mode, parts, approved_rows, claimed_at,
       worker_lock_id
  FROM sexton.claim($1, $2, $3, $4, $5, $6, $7, $8)
