-- Takes purge_planner.sql, purge_planner_family.sql, purge_planner_plain.sql and purge_plans_kept.sql back, for the next
-- target: run sessions have each statement planned anew, and all else as the server has it. No parameters; no rows that matter.
SELECT pg_catalog.set_config(s.name, CASE s.name WHEN 'plan_cache_mode' THEN 'force_custom_plan' ELSE s.reset_val END, false)
  FROM pg_catalog.pg_settings s
 WHERE s.name = ANY ('{enable_seqscan,enable_sort,enable_hashjoin,enable_mergejoin,jit,plan_cache_mode}')
