-- Tables that may want a purge: those with a column that tells an age, the largest first.
-- No parameters. Rows: table as SQL names it, its bare name, whether partitioned, bytes, rows by estimate (NULL: never
-- analyzed), age column, its type, other columns that could be it, whether an index begins with it, rows older than 30,
-- 90 and 365 days by the statistics (NULL: none there), foreign keys that reference it without an index, whether the
-- present role may delete from it. No locks beyond those of looking; nothing is scanned. expires_at and deleted_at go
-- before created_at, since a purge by the latter would take rows that are still in use.
WITH target AS (
  SELECT c.oid, c.relname, c.relkind = 'p' AS partitioned, n.nspname,
         nullif(c.reltuples, -1)::bigint AS estimate,
         CASE c.relkind WHEN 'p' THEN (SELECT coalesce(sum(pg_catalog.pg_total_relation_size(t.relid)), 0)
                                         FROM pg_catalog.pg_partition_tree(c.oid) t)
                        ELSE pg_catalog.pg_total_relation_size(c.oid) END::bigint AS bytes
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
     AND n.nspname NOT IN ('sexton', 'information_schema') AND n.nspname !~ '^pg_'
     AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')),
aged AS (
  SELECT t.*, a.attname, a.attnum, pg_catalog.format_type(a.atttypid, NULL) AS type,
         pg_catalog.row_number() OVER (PARTITION BY t.oid ORDER BY pg_catalog.array_position(
           '{expires_at,expired_at,expiry,valid_until,deleted_at,archived_at,finished_at,completed_at,created_at,
             inserted_at,logged_at,occurred_at,recorded_at,event_time,ts,time,timestamp,created,created_on,date,
             updated_at}'::name[], a.attname), a.attnum) AS place
    FROM target t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype))
SELECT t.oid::regclass::text, t.relname::text, t.partitioned, t.bytes, t.estimate, t.attname::text, t.type,
       ARRAY(SELECT o.attname::text FROM aged o WHERE o.oid = t.oid AND o.place > 1 ORDER BY o.place) AS others,
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisvalid AND i.indkey[0] = t.attnum
                  AND i.indpred IS NULL) AS indexed,
       (SELECT pg_catalog.array_agg((t.estimate * (
                 coalesce((SELECT sum(m.freq) FROM ROWS FROM (
                             pg_catalog.unnest(s.most_common_vals::text::timestamptz[]),
                             pg_catalog.unnest(s.most_common_freqs)) AS m (value, freq) WHERE m.value < cut.at), 0)
                 + coalesce((1 - s.null_frac - coalesce((SELECT sum(f) FROM pg_catalog.unnest(s.most_common_freqs) f), 0))
                   * (SELECT pg_catalog.count(*) FILTER (WHERE b < cut.at)::float8 / pg_catalog.count(*)
                        FROM pg_catalog.unnest(s.histogram_bounds::text::timestamptz[]) b), 0)))::bigint ORDER BY cut.days)
          FROM pg_catalog.pg_stats s,
               (SELECT d AS days, pg_catalog.now() - d * interval '1 day' AS at
                  FROM pg_catalog.unnest('{30,90,365}'::int[]) d) cut
         WHERE s.schemaname = t.nspname AND s.tablename = t.relname AND s.attname = t.attname
           AND s.inherited = t.partitioned) AS older,
       ARRAY(SELECT pg_catalog.format('CREATE INDEX CONCURRENTLY ON %s (%s);', k.conrelid::regclass,
                      (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY u.place)
                         FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u (attnum, place)
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum))
               FROM pg_catalog.pg_constraint k
              WHERE k.confrelid = t.oid AND k.contype = 'f' AND k.conparentid = 0
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid
                     AND i.indpred IS NULL
                     AND (i.indkey::int2[])[0:pg_catalog.cardinality(k.conkey) - 1] @> k.conkey)
              ORDER BY k.conname) AS unindexed,
       pg_catalog.has_table_privilege(t.oid, 'DELETE') AS may_delete
  FROM aged t WHERE t.place = 1
 ORDER BY t.bytes DESC, t.oid::regclass::text LIMIT 30
