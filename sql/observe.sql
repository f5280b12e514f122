-- Looks whether this is still the database that it was. No parameters.
-- One row: whether the server lets us look, what changed (system | timeline | first) or NULL, the epoch.
SELECT readable, changed, epoch FROM sexton.observe()
