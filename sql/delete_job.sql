-- Deletes a job; its history stays. A running one is killed by that.
-- $1 name. No rows.
DELETE FROM sexton.job j WHERE j.name = $1
