-- Gives one resource of this session back, and wakes those who wait.
-- $1 its name, $2 whether it was shared. One row: whether it was held.
SELECT sexton.give_resource($1, $2)
