-- Who holds an advisory lock in this database. $1 lock class, $2 lock id. One row: in words, NULL if nobody.
SELECT (SELECT pg_catalog.concat_ws(', ', 'backend ' || l.pid, a.usename, nullif(a.application_name, ''))
          FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.objid = $2::int::oid AND l.objsubid = 2 AND l.granted
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
         LIMIT 1)
