-- The jobs of the extension pg_cron, as JSON lines: `job` as its table has it, whichever version made that, `known`
-- whether the job's role is there, and where we are: `database`, `role`, `zone`.
-- No parameters. A COPY, so that the server looks for cron.job only when it is executed: elsewhere there is none. JSON has
-- no control characters, so nothing is ever quoted. Rows of others are not seen without BYPASSRLS. No locks beyond reading.
COPY (SELECT pg_catalog.jsonb_build_object(
        'job', pg_catalog.to_jsonb(j),
        'known', pg_catalog.to_regrole(pg_catalog.quote_ident(j.username)) IS NOT NULL,
        'database', pg_catalog.current_database(),
        'role', current_user,
        'zone', coalesce(nullif(pg_catalog.current_setting('cron.timezone', true), ''), 'GMT'))
        FROM cron.job AS j ORDER BY j.jobid)
  TO STDOUT (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
