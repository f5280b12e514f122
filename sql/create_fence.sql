-- The fence of a database that is not the one of the schema sexton: which run of a job may commit there, and how far the
-- job's work has come. `sexton migrate --fence` sends it as one batch, in the schema that it made and as that schema's
-- owner; it is the same however often it runs. No parameters, no rows.
--
-- The functions' signatures are what a program relies on: one that finds them missing says so. docs/databases.md is for
-- readers.
CREATE TABLE IF NOT EXISTS sexton_fence.job (
  install_id   uuid   NOT NULL,
  job_id       bigint NOT NULL,
  job_name     text   NOT NULL,
  epoch        bigint NOT NULL,
  version      bigint NOT NULL,
  run_id       uuid   NOT NULL,
  installed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  done_by      uuid,
  seq          bigint CHECK (seq > 0),
  rows         bigint CHECK (rows >= 0),
  cursor       jsonb,
  moved_at     timestamptz,
  PRIMARY KEY (install_id, job_id),
  CHECK (num_nulls(done_by, seq, rows, cursor, moved_at) IN (0, 5))
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS job_installed_at ON sexton_fence.job (installed_at);
COMMENT ON SCHEMA sexton_fence IS 'Lets Sexton, whose own tables are in another database, work here: each batch once, whatever crashes.';
COMMENT ON TABLE  sexton_fence.job IS 'The jobs that have worked in this database. Written by sexton_fence.install() and check() alone; one that was not here for 30 days is forgotten.';
COMMENT ON COLUMN sexton_fence.job.install_id IS 'The installation of Sexton that the job belongs to: sexton.meta.install_id in its database.';
COMMENT ON COLUMN sexton_fence.job.job_id IS 'The job, by its id there.';
COMMENT ON COLUMN sexton_fence.job.job_name IS 'Its name when it was here last.';
COMMENT ON COLUMN sexton_fence.job.epoch IS 'With version, the token of the run that may commit. Tokens only rise.';
COMMENT ON COLUMN sexton_fence.job.version IS 'See epoch.';
COMMENT ON COLUMN sexton_fence.job.run_id IS 'That run.';
COMMENT ON COLUMN sexton_fence.job.installed_at IS 'When it came.';
COMMENT ON COLUMN sexton_fence.job.done_by IS 'The run whose batch committed last; NULL: none has.';
COMMENT ON COLUMN sexton_fence.job.seq IS 'Batches of that run until then, here and elsewhere.';
COMMENT ON COLUMN sexton_fence.job.rows IS 'Rows of that batch.';
COMMENT ON COLUMN sexton_fence.job.cursor IS 'Where the work stands after it.';
COMMENT ON COLUMN sexton_fence.job.moved_at IS 'When it committed.';

CREATE OR REPLACE FUNCTION sexton_fence.install(
  p_install uuid, p_job bigint, p_name text, p_epoch bigint, p_version bigint, p_run uuid) RETURNS sexton_fence.job
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  f sexton_fence.job;
BEGIN
  PERFORM set_config('synchronous_commit', 'on', true);
  PERFORM set_config('lock_timeout', '2s', true);
  INSERT INTO sexton_fence.job AS k (install_id, job_id, job_name, epoch, version, run_id)
  VALUES (p_install, p_job, p_name, p_epoch, p_version, p_run)
  ON CONFLICT (install_id, job_id) DO UPDATE
     SET job_name = excluded.job_name, epoch = excluded.epoch, version = excluded.version, run_id = excluded.run_id,
         installed_at = excluded.installed_at
   WHERE (k.epoch, k.version) < (excluded.epoch, excluded.version)
      OR (k.epoch, k.version, k.run_id) = (excluded.epoch, excluded.version, excluded.run_id)
  RETURNING * INTO f;
  IF NOT FOUND THEN
    SELECT * INTO f FROM sexton_fence.job k WHERE (k.install_id, k.job_id) = (p_install, p_job);
    RAISE EXCEPTION 'fenced: run % of job % has the token %.%, and % was here', p_run, p_name, p_epoch, p_version,
                    format('run %s with %s.%s', f.run_id, f.epoch, f.version)
      USING ERRCODE = 'SX001', DETAIL = 'superseded',
            HINT = format('Was the database of the schema sexton set back to an earlier state? Then let its tokens rise above this one, there: UPDATE sexton.meta SET epoch = %s;', f.epoch + 1);
  END IF;
  -- One-offs come by the thousand, and not again. Whoever was here 30 days ago has no session any more that could commit.
  DELETE FROM sexton_fence.job k WHERE (k.install_id, k.job_id) IN (
    SELECT o.install_id, o.job_id FROM sexton_fence.job o
     WHERE o.installed_at < clock_timestamp() - interval '30 days'
       AND (o.moved_at IS NULL OR o.moved_at < clock_timestamp() - interval '30 days')
     ORDER BY o.installed_at LIMIT 50 FOR UPDATE SKIP LOCKED);
  RETURN f;
END $$;
COMMENT ON FUNCTION sexton_fence.install(uuid, bigint, text, bigint, bigint, uuid) IS
  'Lets a run commit here, and those before it no more. Raises SX001 unless its token is later than the one here, or the same. Returns the row, with what committed last.';

CREATE OR REPLACE FUNCTION sexton_fence.check(
  p_install uuid, p_job bigint, p_epoch bigint, p_version bigint, p_run uuid, p_seq bigint, p_rows bigint, p_cursor jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  f sexton_fence.job;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  -- Conflicts with install(), and so orders us against it: whoever waited here reads the row again.
  SELECT * INTO f FROM sexton_fence.job k WHERE (k.install_id, k.job_id) = (p_install, p_job) FOR UPDATE;
  IF (f.epoch, f.version, f.run_id) IS DISTINCT FROM (p_epoch, p_version, p_run) THEN
    RAISE EXCEPTION 'fenced: run % with the token %.% may not commit here any more', p_run, p_epoch, p_version
      USING ERRCODE = 'SX001', DETAIL = 'superseded';
  ELSIF f.done_by = p_run AND f.seq > p_seq THEN
    RAISE EXCEPTION 'job %: batch % was committed before', f.job_name, p_seq USING ERRCODE = 'SX004';
  END IF;
  UPDATE sexton_fence.job k
     SET done_by = p_run, seq = p_seq + 1, rows = p_rows, cursor = p_cursor, moved_at = clock_timestamp()
   WHERE (k.install_id, k.job_id) = (p_install, p_job);
END $$;
COMMENT ON FUNCTION sexton_fence.check(uuid, bigint, bigint, bigint, uuid, bigint, bigint, jsonb) IS
  'The last statement of every batch here: commits its cursor with its effect, or raises and takes the effect back. p_seq is the number of batches that the run committed before, here and elsewhere.';

REVOKE ALL ON SCHEMA sexton_fence FROM PUBLIC;
REVOKE ALL ON sexton_fence.job FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sexton_fence FROM PUBLIC;
DO $grants$
DECLARE
  grantee text;
BEGIN
  FOREACH grantee IN ARRAY '{sexton_runner,sexton_operator,sexton_viewer}'::text[] LOOP
    CONTINUE WHEN to_regrole(grantee) IS NULL;
    EXECUTE format('GRANT USAGE ON SCHEMA sexton_fence TO %I', grantee);
    EXECUTE format('GRANT SELECT ON sexton_fence.job TO %I', grantee);
  END LOOP;
  IF to_regrole('sexton_runner') IS NOT NULL THEN
    GRANT EXECUTE ON FUNCTION
      sexton_fence.install(uuid, bigint, text, bigint, bigint, uuid),
      sexton_fence.check(uuid, bigint, bigint, bigint, uuid, bigint, bigint, jsonb)
      TO sexton_runner;
  END IF;
END $grants$;
