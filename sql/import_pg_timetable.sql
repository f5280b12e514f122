-- The chains of pg_timetable (version 5 and later), as import_pg_cron.sql has the jobs of pg_cron: a chain of one task that
-- is SQL is such a job. `why` says of any other why it cannot be one, `notes` what it has besides.
-- No parameters. Its role is not known here, unless a task names one: it is taken to be ours. No locks beyond reading.
COPY (SELECT pg_catalog.jsonb_build_object(
        'job', pg_catalog.jsonb_build_object(
          'jobid', c.chain_id, 'jobname', c.chain_name, 'active', coalesce(c.live, false), 'command', coalesce(t.commands, ''),
          'database', pg_catalog.current_database(), 'username', coalesce(t.run_as, current_user),
          'schedule', CASE
            WHEN c.run_at IS NULL THEN 'manual'
            WHEN c.run_at ~ '^@(every|after)'
              THEN pg_catalog.substr(c.run_at, 2, 5) || ' ' || extract(epoch FROM pg_catalog.substr(c.run_at, 7)::interval)::bigint || 's'
            ELSE c.run_at END),
        'known', t.run_as IS NULL OR pg_catalog.to_regrole(pg_catalog.quote_ident(t.run_as)) IS NOT NULL,
        'database', pg_catalog.current_database(),
        'role', current_user,
        'zone', pg_catalog.current_setting('TimeZone'),
        'why', CASE
          WHEN t.tasks = 0 THEN 'it has no task'
          WHEN t.tasks > 1 THEN pg_catalog.format('a job has one statement, and this has %s tasks: make them jobs, or a procedure and CALL it', t.tasks)
          WHEN t.kind = 'PROGRAM' THEN 'it starts a program: name that under [commands] in a replica''s local file, and make a job of the kind command'
          WHEN t.kind <> 'SQL' THEN 'its task is built into pg_timetable'
          WHEN t.elsewhere THEN 'it works in another database (database_connection); run Sexton there'
          WHEN t.parameters > 0 THEN 'it has parameters: write their values into the statement' END,
        'notes', pg_catalog.array_remove(ARRAY[
          CASE WHEN c.exclusive_execution THEN 'No other chain runs beside it there (exclusive_execution): name one of `resources` in all jobs for that.' END,
          CASE WHEN c.self_destruct THEN 'It deletes itself there after a success (self_destruct): here it stays.' END,
          CASE WHEN c.client_name IS NOT NULL THEN 'One client alone runs it there (client_name): here any replica does.' END,
          CASE WHEN (pg_catalog.to_jsonb(c) ->> 'timeout')::bigint > 0
               THEN pg_catalog.format('Its timeout there is %s ms: see `timeout`.', pg_catalog.to_jsonb(c) ->> 'timeout') END,
          CASE WHEN pg_catalog.to_jsonb(c) ->> 'on_error' IS NOT NULL THEN 'Something else is executed there when it fails (on_error): see `notices`.' END], NULL))
        FROM timetable.chain AS c
       CROSS JOIN LATERAL (
         SELECT count(*) AS tasks, pg_catalog.string_agg(k.command, E'\n' ORDER BY k.task_order) AS commands, pg_catalog.min(k.kind::text) AS kind,
                pg_catalog.min(k.run_as) AS run_as, pg_catalog.bool_or(k.database_connection IS NOT NULL) AS elsewhere,
                count(p.task_id) AS parameters
           FROM timetable.task AS k
           LEFT JOIN LATERAL (SELECT p.task_id FROM timetable.parameter AS p
                               WHERE p.task_id = k.task_id AND coalesce(p.value, '[]') <> '[]' LIMIT 1) AS p ON true
          WHERE k.chain_id = c.chain_id) AS t
       ORDER BY c.chain_id)
  TO STDOUT (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')
