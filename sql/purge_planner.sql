-- Keeps the planner on the walk: neither may a batch read the whole table, nor may the next bound be found by sorting
-- it, whatever the statistics said last. Both are penalties, no bans: triggers that have no other plan keep theirs.
-- No rows that matter.
SELECT pg_catalog.set_config('enable_seqscan', 'off', false), pg_catalog.set_config('enable_sort', 'off', false)
