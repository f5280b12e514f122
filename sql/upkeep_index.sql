-- An index that is to be there. $1 the table's name, $2 the index's, $3 run id. One row; table_oid is NULL if there is no such table.
-- may and role as in upkeep_tables.sql. state is none, valid, invalid (a build that failed, or is on its way: busy), or other (the name is taken).
SELECT t.oid AS table_oid, CASE WHEN t.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, t.relname) END AS table_name, t.relkind::text AS kind,
       CASE WHEN t.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, $2::text) END AS name, pg_catalog.quote_ident($2) AS bare_name,
       CASE WHEN x.oid IS NULL THEN 'none' WHEN i.indrelid IS DISTINCT FROM t.oid THEN 'other'
            WHEN i.indisvalid THEN 'valid' ELSE 'invalid' END AS state,
       EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'relation' AND l.relation = t.oid AND l.mode = 'ShareUpdateExclusiveLock'
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
                  AND l.pid <> pg_catalog.pg_backend_pid()) AS busy,
       pg_catalog.pg_has_role(t.relowner, 'USAGE')
         AND coalesce(pg_catalog.pg_has_role(e.role, t.relowner, 'USAGE'), false) AS may,
       pg_catalog.pg_get_userbyid(t.relowner)::text AS owner,
       CASE WHEN pg_catalog.pg_has_role(t.relowner, 'USAGE') THEN e.name ELSE current_user::text END AS role
  FROM (SELECT j.edited_by AS name, pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by))::oid AS role
          FROM sexton.job j WHERE j.run_id = $3) AS e
  LEFT JOIN pg_catalog.pg_class t ON t.oid = pg_catalog.to_regclass($1)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_catalog.pg_class x ON x.relnamespace = n.oid AND x.relname = $2
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
