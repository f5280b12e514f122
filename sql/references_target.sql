-- All that decides whether references may be removed from a table.
-- $1 its oid, $2 its name as it was resolved when the job was saved, $3 run id, $4 names of columns, of which $5 are set,
-- $6 whether rows are deleted, $7 what may be the name of a further column.
-- One row, or none if the table is gone: columns and what is said of them are NULL where there is no such column; keys are
-- the columns of the primary key, or of another unique index without NULLs; editor_may says whether whoever edited the job
-- last may make these changes, since a job has no more rights than its editor.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       pg_catalog.to_regclass($2)::oid IS NOT DISTINCT FROM c.oid AS same,
       c.relkind::text AS kind,
       n.nspname IN ('sexton', 'pg_catalog', 'information_schema', 'pg_toast') AS protected,
       c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid) AS parent,
       pg_catalog.row_security_active(c.oid) AS row_security,
       pg_catalog.quote_ident(current_user) AS role,
       pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_any_column_privilege(c.oid, 'UPDATE')
         AND (NOT $6 OR pg_catalog.has_table_privilege(c.oid, 'DELETE'))
         AND coalesce(pg_catalog.bool_and(k.attname <> ALL ($5::text[])
                                          OR pg_catalog.has_column_privilege(c.oid, k.attnum, 'UPDATE')), true) AS may,
       pg_catalog.quote_ident(j.edited_by) AS editor,
       coalesce((NOT $6 OR pg_catalog.has_table_privilege(e.role, c.oid, 'DELETE'))
         AND coalesce(pg_catalog.bool_and(k.attname <> ALL ($5::text[])
                                          OR pg_catalog.has_column_privilege(e.role, c.oid, k.attnum, 'UPDATE')), true), false) AS editor_may,
       pg_catalog.array_agg(pg_catalog.quote_ident(k.attname) ORDER BY k.ord) AS columns,
       -- Without the length: an explicit cast to it would cut a value silently.
       pg_catalog.array_agg(pg_catalog.format_type(k.atttypid, -1) ORDER BY k.ord) AS types,
       pg_catalog.array_agg(pg_catalog.format_type(nullif(t.typelem, 0), -1) ORDER BY k.ord) AS elements,
       pg_catalog.array_agg(coalesce(k.attnotnull, false) ORDER BY k.ord) AS required,
       (SELECT pg_catalog.quote_ident(a.attname) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attname = $7 AND a.attnum > 0 AND NOT a.attisdropped) AS "column",
       u.keys, u.key_names, u.key_types
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN sexton.job j ON j.run_id = $3
 CROSS JOIN LATERAL (SELECT pg_catalog.to_regrole(pg_catalog.quote_ident(j.edited_by))::oid AS role) AS e
  LEFT JOIN LATERAL (
    SELECT w.ord, a.attname, a.attnum, a.atttypid, a.attnotnull
      FROM pg_catalog.unnest($4::text[]) WITH ORDINALITY AS w(name, ord)
      LEFT JOIN pg_catalog.pg_attribute a
        ON a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped) AS k ON true
  LEFT JOIN pg_catalog.pg_type t ON t.oid = k.atttypid AND t.typcategory = 'A'
  LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(pg_catalog.quote_ident(a.attname) ORDER BY x.ord) AS keys,
           pg_catalog.array_agg(a.attname::text ORDER BY x.ord) AS key_names,
           pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY x.ord) AS key_types
      FROM pg_catalog.pg_index i
     CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS x(attnum, ord)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = x.attnum
     WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready
       AND i.indpred IS NULL AND i.indexprs IS NULL AND x.ord <= i.indnkeyatts
     GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts
    HAVING pg_catalog.bool_and(a.attnotnull)
     ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS u ON true
 WHERE c.oid = $1
 GROUP BY c.oid, n.nspname, c.relname, c.relkind, j.edited_by, e.role, u.keys, u.key_names, u.key_types
