-- Pauses and marks a job that is gone from its file. A pause by a person stays as it is.
-- $1 name, $2 the reason, by which a later return to the file finds its own pause again. No rows. `gone` in what was
-- applied says that this was done once: who resumes the job then keeps it, whatever the file says.
UPDATE sexton.job j
   SET removed_at = pg_catalog.clock_timestamp(), applied = j.applied || '{"gone": true}',
       paused_at = coalesce(j.paused_at, pg_catalog.clock_timestamp()),
       paused_by = CASE WHEN j.paused_at IS NULL THEN session_user::text ELSE j.paused_by END,
       pause_reason = CASE WHEN j.paused_at IS NULL THEN $2 ELSE j.pause_reason END
 WHERE j.name = $1
