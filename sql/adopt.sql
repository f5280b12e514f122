-- Says that this restored or cloned database shall be maintained. No parameters.
-- One row: what it did, in a sentence. Locks: meta and the jobs' rows.
SELECT sexton.adopt()
