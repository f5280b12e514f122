-- How big a relation is. $1 its name, quoted. One row: bytes, with TOAST and indexes; NULL if it is gone.
SELECT pg_catalog.pg_total_relation_size(pg_catalog.to_regclass($1))
