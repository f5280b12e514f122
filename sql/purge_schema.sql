-- Whether partitions can move to a schema. $1 its name. One row, or none if there is no such schema: its quoted name,
-- and whether the role may create tables there.
SELECT pg_catalog.quote_ident(n.nspname) AS name, pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS may_create
  FROM pg_catalog.pg_namespace n
 WHERE n.nspname = $1
