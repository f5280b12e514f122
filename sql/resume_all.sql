-- Ends the halt of pause_all. No parameters. One row: what it did, in a sentence. Locks: meta; waits for claims that are committing.
SELECT sexton.resume_all()
