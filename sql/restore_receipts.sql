-- Receipts of archives that runs have committed, and of which the storage may lack the last ones. No parameters, no locks.
-- One row a receipt, as JSON.
SELECT DISTINCT found.receipt
  FROM sexton.run_part p
 CROSS JOIN LATERAL pg_catalog.jsonb_path_query(p.cursor, '$.**.receipts[*]') AS found(receipt)
