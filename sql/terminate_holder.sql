-- Ends the session of a job's last holder, if that still holds the job's lock. $1 its name.
-- One row: whether there was one to end. No locks.
SELECT sexton.terminate_holder($1)
