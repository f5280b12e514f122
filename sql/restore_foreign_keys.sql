-- The foreign keys among tables that are restored together, other than to oneself. $1 their oids.
SELECT k.conrelid AS child, k.confrelid AS parent, k.conname::text AS name, k.condeferrable AS deferrable
  FROM pg_catalog.pg_constraint k
 WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid <> k.confrelid
   AND k.conrelid = ANY ($1::oid[]) AND k.confrelid = ANY ($1::oid[])
 ORDER BY k.conname
