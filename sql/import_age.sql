-- Whether rows of a table have an age in a column, and may go after a retention.
-- Parameters: $1 table as SQL names it, $2 the column's bare name, $3 retention (NULL: the column is an expiry).
-- A row if it is a table of that column: the column's type, and whether the retention is one that a purge takes, from one
-- hour on. An error if the retention is no interval. No locks beyond those of looking.
SELECT pg_catalog.format_type(a.atttypid, NULL), coalesce($3::text::interval >= interval '1 hour', true)
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = pg_catalog.to_regclass($1) AND c.relkind IN ('r', 'p') AND a.attname = $2::text
   AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
