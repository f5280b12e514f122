-- Unmarks a job that is in its file again, and ends the pause if that was ours.
-- $1 name, $2 the reason that mark_removed gave. No rows.
UPDATE sexton.job j
   SET removed_at = NULL,
       paused_at = CASE WHEN j.pause_reason = $2 THEN NULL ELSE j.paused_at END,
       paused_by = CASE WHEN j.pause_reason = $2 THEN NULL ELSE j.paused_by END,
       paused_until = CASE WHEN j.pause_reason = $2 THEN NULL ELSE j.paused_until END,
       pause_reason = CASE WHEN j.pause_reason = $2 THEN NULL ELSE j.pause_reason END
 WHERE j.name = $1 AND j.removed_at IS NOT NULL
