-- Takes purge_planner.sql and purge_planner_family.sql back, for the next target. No parameters; no rows that matter.
SELECT pg_catalog.set_config(s.name, s.reset_val, false) FROM pg_catalog.pg_settings s
 WHERE s.name = ANY ('{enable_seqscan,enable_sort,enable_hashjoin,enable_mergejoin,jit}')
