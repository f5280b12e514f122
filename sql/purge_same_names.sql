-- Columns of other tables that are named as if they referred to a table's key, and have no foreign key that says so.
-- $1 oid of the table. A row for each, at most ten: the other table (schema-qualified, quoted) and the column (quoted).
-- Taken for such a name is that of the one column of the primary key, if it is longer than "id", or the table's name, in
-- the plural or without its last s, with that column's behind it: users.id is what user_id or users_id refers to.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS child, pg_catalog.quote_ident(a.attname) AS "column"
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_attribute k ON k.attrelid = t.oid AND k.attnum = i.indkey[0]
  JOIN pg_catalog.pg_attribute a ON a.atttypid = k.atttypid AND a.attnum > 0 AND NOT a.attisdropped AND a.attrelid <> t.oid
   AND (a.attname = k.attname AND pg_catalog.length(k.attname::text) > 2
        OR a.attname IN (t.relname || '_' || k.attname, pg_catalog.regexp_replace(t.relname, 's$', '') || '_' || k.attname))
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'sexton') AND n.nspname !~ '^pg_(toast|temp)'
 WHERE i.indrelid = $1 AND i.indisprimary AND i.indnkeyatts = 1
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint f
                    WHERE f.contype = 'f' AND f.conrelid = c.oid AND a.attnum = ANY (f.conkey))
 ORDER BY 1, 2
 LIMIT 10
