-- Takes resources for this session: all or none. Never waits.
-- $1 an array of names, or {"name": …, "shared": true}. One row: whether they were taken; if not, which one is not free,
-- and who has it. Locks: advisory ones, until they are given back or the session ends.
SELECT taken, resource, behind FROM sexton.take_resources($1)
