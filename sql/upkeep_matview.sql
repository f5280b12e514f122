-- A materialized view that is to be refreshed. $1 its name, $2 run id. One row; oid is NULL if there is no such relation. unique_index
-- says whether it has the index that CONCURRENTLY needs; may and role as in upkeep_tables.sql.
SELECT c.oid, CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, c.relname) END AS name, c.relkind::text AS kind,
       coalesce(c.relispopulated, false) AS populated,
       EXISTS (SELECT FROM pg_catalog.pg_index i
                WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL)
         AS unique_index,
       pg_catalog.pg_has_role(c.relowner, 'USAGE')
         AND coalesce(pg_catalog.pg_has_role(e.role, c.relowner, 'USAGE'), false) AS may,
       pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       CASE WHEN pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN e.name ELSE current_user::text END AS role
  FROM (SELECT pg_catalog.to_regclass($1)::oid AS oid) AS asked
  CROSS JOIN (SELECT j.edited_by AS name, pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by))::oid AS role
                FROM sexton.job j WHERE j.run_id = $2) AS e
  LEFT JOIN pg_catalog.pg_class c ON c.oid = asked.oid
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
