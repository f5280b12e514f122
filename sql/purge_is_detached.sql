-- Whether a table is still the one of that name, and no partition. $1 oid, $2 its name, schema-qualified and quoted. One row.
SELECT coalesce(pg_catalog.to_regclass($2::text)::oid = $1::oid, false)
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = $1::oid)
