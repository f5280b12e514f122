-- Triggers of the application that a DELETE fires. $1 oid of the table. A row for each: its name.
SELECT t.tgname::text
  FROM pg_catalog.pg_trigger t
 WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 8 = 8
 ORDER BY t.tgname
