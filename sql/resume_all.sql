-- Ends the halt of pause_all. No parameters. One row: what it did, in a sentence. Locks: meta's row.
SELECT sexton.resume_all()
