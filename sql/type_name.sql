-- What SQL calls a type. $1 its oid. One row.
SELECT pg_catalog.format_type($1, -1)
