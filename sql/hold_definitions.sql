-- Holds the jobs of an application, so that nobody edits them between our look and our write.
-- $1 application. No rows of interest. Locks: its rows, in the order of ids, against other writers; a batch that is
-- about to commit is waited for.
SELECT j.id FROM sexton.job j WHERE j.app = $1 AND j.parent_id IS NULL ORDER BY j.id FOR NO KEY UPDATE
