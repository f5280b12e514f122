-- Takes a due or orphaned job, on a session that already holds its advisory lock.
-- $1 job id, $2 version and $3 revision as read, $4 run id, $5 replica id, $6 holder in words, $7 program, $8 destructive,
-- $9 outside.
-- One row: result won | settled | lost, and what came with it. Locks: meta FOR SHARE, the job's row, before it that of
-- the job whose one-off it is, and the key of its workers, all until it commits; the locks of its resources.
SELECT result, reason, version, epoch, occurrence, attempt, revision, mode, parts, approved_rows, claimed_at,
       worker_lock_id, resources, run_options, run_inputs
  FROM sexton.claim($1, $2, $3, $4, $5, $6, $7, $8, $9)
