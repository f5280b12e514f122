-- Tables that upkeep may look after.
-- $1 names, or NULL for every table of the application, $2 the run's now, $3 run id, $4 an interval or
-- NULL. A row for each, and for each leaf where a name
-- is of a partitioned table; in the order of their names. oid is NULL where there is no table of that name (asked).
-- late says whether its last VACUUM, if any, was before that interval; may says whether this role and the job's last editor own it, or may act for its
-- owner: a job has no more rights than its editor. role is the one of them who may not.
WITH asked AS (
  SELECT w.name, pg_catalog.to_regclass(w.name)::oid AS oid FROM pg_catalog.unnest($1::text[]) AS w(name)
  UNION ALL
  SELECT NULL, c.oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE $1::text[] IS NULL AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('sexton', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
), leaf AS (
  SELECT a.name AS asked, r.oid
    FROM asked a
    LEFT JOIN LATERAL (SELECT a.oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(a.oid) p WHERE p.isleaf) AS r(oid) ON true
)
SELECT DISTINCT ON (name, c.oid) l.asked, c.oid, CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, c.relname) END AS name, c.relkind::text AS kind,
       coalesce(pg_catalog.pg_stat_get_dead_tuples(c.oid), 0) AS dead,
       coalesce(pg_catalog.pg_stat_get_live_tuples(c.oid), 0) AS live,
       $4::text IS NOT NULL AND coalesce(
         greatest(pg_catalog.pg_stat_get_last_vacuum_time(c.oid), pg_catalog.pg_stat_get_last_autovacuum_time(c.oid))
           <= pg_catalog.timezone('UTC', pg_catalog.timezone('UTC', $2::timestamptz) - $4::text::interval), true) AS late,
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
         AND coalesce(pg_catalog.pg_has_role(e.role, c.relowner, 'USAGE'), false) AS may,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN e.name ELSE current_user::text END AS role
  FROM leaf l
  CROSS JOIN (SELECT j.edited_by AS name, pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by))::oid AS role
                FROM sexton.job j WHERE j.run_id = $3) AS e
  LEFT JOIN pg_catalog.pg_class c ON c.oid = l.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY name, c.oid
