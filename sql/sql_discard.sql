-- Ends the trampoline, and whatever else the statement of a job left in the session's temporary schema: a type named
-- text there would stand in for ours. No parameters, no rows.
DISCARD TEMP
