-- Gives up all advisory locks of this session, a moment before it closes, and wakes those who wait for a resource.
-- No parameters, no rows that matter.
SELECT sexton.give_all()
