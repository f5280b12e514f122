-- All that decides whether a purge may touch a table.
-- $1 its oid, $2 its name as it was resolved when the job was saved, $3 the name of a column, or what is no such name.
-- One row, or none if it is gone.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.to_regclass($2)::oid IS NOT DISTINCT FROM c.oid AS same,
       c.relkind::text AS kind,
       n.nspname = 'sexton' AS ours,
       n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') AS catalog,
       c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid) AS parent,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AS may_select,
       pg_catalog.has_table_privilege(c.oid, 'DELETE') AS may_delete,
       pg_catalog.has_any_column_privilege(c.oid, 'UPDATE') AS may_lock,
       pg_catalog.row_security_active(c.oid) AS row_security,
       current_user::text AS role,
       (SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped) AS "column",
       c.reltuples::float8 AS tuples,
       c.relreplident::text AS replica_identity,
       EXISTS (SELECT 1 FROM pg_catalog.pg_index i
                WHERE i.indrelid = c.oid AND i.indisvalid
                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END) AS identity_index,
       (SELECT pg_catalog.min(t.pubname)::text
          FROM pg_catalog.pg_publication_tables t JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname
         WHERE p.pubdelete AND t.schemaname = n.nspname AND t.tablename = c.relname) AS publication
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = $1
