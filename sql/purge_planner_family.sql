-- Keeps the planner, where a batch takes rows of children along, to looking these up by index for each row of the batch:
-- other joins would read all of an index of the child for each batch. As in purge_planner.sql, penalties and no bans.
-- Nothing of it is worth compiling, whatever the penalties cost. No rows that matter.
SELECT pg_catalog.set_config('enable_hashjoin', 'off', false), pg_catalog.set_config('enable_mergejoin', 'off', false),
       pg_catalog.set_config('jit', 'off', false)
