-- The sequences that give a table's columns their values: identity, serial, or named by a default. $1 the table's oid.
SELECT DISTINCT pg_catalog.quote_ident(a.attname) AS "column", pg_catalog.format('%I.%I', n.nspname, s.relname) AS sequence,
       q.seqincrement < 0 AS descending
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class s ON s.relkind = 'S'
  JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
   AND (EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.oid
                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid
                   AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i'))
        OR EXISTS (SELECT 1 FROM pg_catalog.pg_attrdef f
                     JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid
                    WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum
                      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.oid))
 ORDER BY 1, 2
