-- Whether rows of a table can be kept in another. $1 oid of the table, $2 oid of the archive.
-- One row: the archive's name, whether it is the table itself or shares its partitions, whether it is a table, whether it
-- survives a crash as the table does, the columns (quoted) that are written, those that it lacks with their types, those
-- that would be left NULL though they must not be, whether the role may insert, and the role.
WITH ours AS (
  SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.attnum FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
), theirs AS (
  SELECT a.attname, a.attnum, a.attgenerated, a.attnotnull, a.atthasdef, a.attidentity FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = $2 AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
       c.oid = t.oid
         OR coalesce(pg_catalog.pg_partition_root(c.oid) = pg_catalog.pg_partition_root(t.oid), false) AS related,
       c.relkind IN ('r', 'p') AND n.nspname NOT IN ('sexton', 'pg_catalog', 'information_schema') AS usable,
       c.relpersistence = 'p' OR c.relpersistence = t.relpersistence AS durable,
       ARRAY(SELECT pg_catalog.quote_ident(o.attname) FROM ours o JOIN theirs a USING (attname)
              WHERE a.attgenerated = '' ORDER BY o.attnum) AS columns,
       ARRAY(SELECT pg_catalog.quote_ident(o.attname) FROM ours o
              WHERE o.attname NOT IN (SELECT attname FROM theirs) ORDER BY o.attnum) AS missing,
       ARRAY(SELECT o.type FROM ours o
              WHERE o.attname NOT IN (SELECT attname FROM theirs) ORDER BY o.attnum) AS missing_types,
       ARRAY(SELECT pg_catalog.quote_ident(a.attname) FROM theirs a
              WHERE a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
                AND a.attname NOT IN (SELECT attname FROM ours) ORDER BY a.attnum) AS unfilled,
       coalesce((SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'INSERT'))
                   FROM theirs a JOIN ours USING (attname) WHERE a.attgenerated = ''), true) AS may_insert,
       current_user::text AS role
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class t ON t.oid = $1
 WHERE c.oid = $2
