-- The tables of Sexton. `sexton.job` decides who may work, `sexton.run` says what came of it; the rest serves
-- these two. Every rule that a CHECK or an index can hold is held here, so that no program, of whatever
-- version or language, can store what the protocol forbids.
--
-- The schema itself is created by `sexton migrate`, since the migration history lives in it too.

CREATE SEQUENCE sexton.lock_id AS int;
COMMENT ON SEQUENCE sexton.lock_id IS
  'Second half of every advisory lock key: of jobs, replicas and resources alike. Never a hash, so never a clash.';

CREATE TABLE sexton.meta (
  singleton         boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  install_id        uuid    NOT NULL DEFAULT gen_random_uuid(),
  lock_class        int     NOT NULL DEFAULT (1 + floor(random() * 2147483646))::int CHECK (lock_class > 0),
  epoch             bigint  NOT NULL DEFAULT 1 CHECK (epoch > 0),
  system_identifier bigint,
  timeline          int,
  adopt_needed_at   timestamptz,
  identity          text,
  halted_at         timestamptz,
  halted_by         text,
  halt_reason       text,
  min_level         int      NOT NULL DEFAULT 1,
  keep_runs         int      NOT NULL DEFAULT 500 CHECK (keep_runs >= 1),
  keep_runs_for     interval NOT NULL DEFAULT '90 days' CHECK (keep_runs_for > interval '0'),
  keep_one_offs     int      NOT NULL DEFAULT 5000 CHECK (keep_one_offs >= 1),
  CHECK (halted_at IS NOT NULL OR (halted_by IS NULL AND halt_reason IS NULL))
);
COMMENT ON TABLE  sexton.meta IS 'What holds for this installation as a whole: one row.';
COMMENT ON COLUMN sexton.meta.singleton IS 'Keeps this table at one row.';
COMMENT ON COLUMN sexton.meta.install_id IS 'Names this installation in idempotency keys, jitter and H of cron.';
COMMENT ON COLUMN sexton.meta.lock_class IS 'First half of every advisory lock key; random, so that other users of the database are not met. Positive, so that pg_locks.classid (an unsigned oid) reads the same.';
COMMENT ON COLUMN sexton.meta.epoch IS 'Raised when the database turns out to be another incarnation (failover, restore): tokens for the outside are epoch.version and so never repeat.';
COMMENT ON COLUMN sexton.meta.system_identifier IS 'pg_control_system() when last looked at; NULL where the server does not let us read it.';
COMMENT ON COLUMN sexton.meta.timeline IS 'WAL timeline when last looked at.';
COMMENT ON COLUMN sexton.meta.adopt_needed_at IS 'Set when the system identifier changed (restored dump, clone, pg_upgrade): destructive and outside kinds wait for sexton.adopt().';
COMMENT ON COLUMN sexton.meta.identity IS 'A name for this database, such as prod-main; replicas that were told another refuse to run.';
COMMENT ON COLUMN sexton.meta.halted_at IS 'Set by pause_all(), cleared by resume_all(): nothing destructive starts and no destructive batch commits.';
COMMENT ON COLUMN sexton.meta.halted_by IS 'Who called pause_all().';
COMMENT ON COLUMN sexton.meta.halt_reason IS 'Why, in his or her words.';
COMMENT ON COLUMN sexton.meta.min_level IS 'Programs that know fewer migrations than this refuse to run: raised only by a migration that breaks them.';
COMMENT ON COLUMN sexton.meta.keep_runs IS 'Finished runs kept for each job that does not say otherwise (job.keep_runs); older ones are pruned.';
COMMENT ON COLUMN sexton.meta.keep_runs_for IS 'How long finished runs are kept at the most, where the job does not say otherwise; so are notices.';
COMMENT ON COLUMN sexton.meta.keep_one_offs IS 'Finished runs kept of all one-offs of a job together.';

CREATE TABLE sexton.job (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'),
  app         text NOT NULL DEFAULT 'default' CHECK (app ~ '^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$'),

  -- the definition: what the job does. A change of it is a new revision.
  kind        text  NOT NULL CHECK (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  params      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(params) = 'object'),
  inputs      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(inputs) = 'object'),
  run_as      text,
  database    text,

  -- when and within what limits. A change of these takes effect with the next run.
  schedule     text NOT NULL DEFAULT 'manual' CHECK (schedule ~ '\S'),
  time_zone    text NOT NULL DEFAULT 'UTC',
  missed       text NOT NULL DEFAULT 'once' CHECK (missed ~ '^(once|skip|each\([1-9][0-9]{0,3}\))$'),
  max_lateness interval CHECK (max_lateness > interval '0'),
  jitter       interval NOT NULL DEFAULT '0' CHECK (jitter >= interval '0' AND jitter <= interval '1 day'),
  timeout      interval NOT NULL DEFAULT '6 hours' CHECK (timeout >= interval '1 second'),
  max_attempts int      NOT NULL DEFAULT 3 CHECK (max_attempts BETWEEN 1 AND 1000),
  backoff      interval NOT NULL DEFAULT '30 seconds' CHECK (backoff >= interval '0'),
  backoff_max  interval NOT NULL DEFAULT '1 hour',
  resume_after interval NOT NULL DEFAULT '1 minute' CHECK (resume_after >= interval '1 second'),
  pause_after  int CHECK (pause_after >= 1),
  priority     int  NOT NULL DEFAULT 0,
  search_path  text,
  expect_success_every interval CHECK (expect_success_every > interval '0'),
  keep_runs     int CHECK (keep_runs >= 1),
  keep_runs_for interval CHECK (keep_runs_for > interval '0'),
  notices      jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(notices) = 'array'),
  resources    jsonb   NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(resources) = 'array'),
  when_held    text    NOT NULL DEFAULT 'wait' CHECK (when_held IN ('wait', 'skip')),
  shares_table boolean NOT NULL DEFAULT false,
  max_running  int     NOT NULL DEFAULT 4 CHECK (max_running BETWEEN 1 AND 1000),
  CHECK (backoff_max >= backoff),

  -- what makes a row a one-off of another job: then its definition and switches are that job's
  parent_id   bigint REFERENCES sexton.job ON DELETE CASCADE CHECK (parent_id <> id),
  source_id   bigint,
  submit_key  text CHECK (submit_key <> '' AND length(submit_key) <= 500),
  pending_key text,
  CHECK ((parent_id IS NULL) = (source_id IS NULL)),
  CHECK (parent_id IS NOT NULL OR submit_key IS NULL),
  CHECK (pending_key = submit_key),

  -- the switches of people
  paused_at     timestamptz,
  paused_by     text,
  pause_reason  text,
  paused_until  timestamptz,
  armed_revision bigint,
  armed_at      timestamptz,
  armed_by      text,
  disarmed_at   timestamptz,
  disarmed_by   text,
  approved_rows bigint CHECK (approved_rows >= 0),
  approved_by   text,
  CHECK (paused_at IS NOT NULL OR (paused_by IS NULL AND pause_reason IS NULL AND paused_until IS NULL)),
  CHECK ((armed_revision IS NULL) = (armed_at IS NULL)),
  CHECK (approved_rows IS NULL OR armed_revision IS NOT NULL),

  -- the definition's bookkeeping
  revision           bigint NOT NULL DEFAULT 1 CHECK (revision >= 1),
  validated_revision bigint,
  invalid_reason     text,
  needs              text[] NOT NULL DEFAULT '{}',
  target_name        text,
  target_oid         oid,
  targets            jsonb,
  other_tables       jsonb,
  applied            jsonb,
  generation         bigint,
  deploys            text[] NOT NULL DEFAULT '{}',
  removed_at         timestamptz,
  created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  edited_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  edited_by          text NOT NULL DEFAULT session_user,

  -- what is due: written by the protocol alone
  planned        boolean NOT NULL DEFAULT false,
  scheduled_at   timestamptz,
  last_scheduled_at timestamptz,
  plan_from      timestamptz,
  occurrence     timestamptz,
  origin         text CHECK (origin IN ('schedule', 'run_now', 'resume', 'start', 'deploy', 'submit')),
  due_at         timestamptz,
  attempt        int    NOT NULL DEFAULT 0 CHECK (attempt >= 0),
  missed_count   bigint NOT NULL DEFAULT 0 CHECK (missed_count >= 0),
  failure_count  int    NOT NULL DEFAULT 0 CHECK (failure_count >= 0),
  run_options    jsonb  NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(run_options) = 'object'),
  run_inputs     jsonb  NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(run_inputs) = 'object'),
  rerun          jsonb CHECK (jsonb_typeof(rerun) = 'object'),
  CHECK ((occurrence IS NULL) = (origin IS NULL)),
  CHECK ((occurrence IS NULL) = (due_at IS NULL)),
  CHECK (planned OR scheduled_at IS NULL),

  -- who holds it: written by the protocol alone
  state       text   NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'running')),
  version     bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
  lock_id     int    NOT NULL UNIQUE DEFAULT nextval('sexton.lock_id'),
  worker_lock_id int NOT NULL UNIQUE DEFAULT nextval('sexton.lock_id'),
  run_id      uuid,
  replica_id  uuid,
  holder      text,
  holder_pid  int,
  cancel_requested_at timestamptz,
  cancel_requested_by text,
  CHECK ((state = 'running') = (run_id IS NOT NULL)),
  CHECK ((state = 'running') = (holder_pid IS NOT NULL)),
  CHECK ((state = 'running') = (replica_id IS NOT NULL)),
  CHECK (state = 'running' OR cancel_requested_at IS NULL),
  CHECK (state = 'idle' OR occurrence IS NOT NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The only indexes besides the names': the scan for due jobs, the pauses that end by themselves, and the jobs that a
-- replica must validate and plan. State, version, run_id and holder stay out of every index, so that each claim is a
-- HOT update (measured on the prototype: 4 buffers a scan from 100 to
-- 1,000,000 jobs).
CREATE INDEX job_due_at ON sexton.job (due_at) WHERE parent_id IS NULL;
CREATE INDEX job_paused_until ON sexton.job (paused_until) WHERE paused_until IS NOT NULL;
CREATE INDEX job_unplanned ON sexton.job (id)
  WHERE (NOT planned OR validated_revision IS DISTINCT FROM revision) AND invalid_reason IS NULL AND parent_id IS NULL;
-- Of one-offs: which come due, whose turn it is, and whether one with this key is pending or on its way. Thousands of them are no
-- weight for the scan for due jobs.
CREATE INDEX job_one_offs_due_at ON sexton.job (due_at) WHERE parent_id IS NOT NULL;
CREATE INDEX job_one_offs ON sexton.job (parent_id, source_id, due_at) WHERE parent_id IS NOT NULL;
CREATE INDEX job_submit_key ON sexton.job (parent_id, submit_key) WHERE submit_key IS NOT NULL AND pending_key IS NULL;
-- Partial, or its columns would be a key in PostgreSQL's eyes, and every claim lock the row as for a deletion.
CREATE UNIQUE INDEX job_pending_key ON sexton.job (parent_id, pending_key) WHERE pending_key IS NOT NULL;

COMMENT ON TABLE  sexton.job IS 'The jobs: what is to be done, when, and who does it now. Read it freely; write the columns of its definition, and leave the rest to the functions.';
COMMENT ON INDEX  sexton.job_due_at IS 'The scan for due jobs.';
COMMENT ON INDEX  sexton.job_paused_until IS 'Pauses that end by themselves.';
COMMENT ON INDEX  sexton.job_unplanned IS 'New and edited jobs, which a replica must validate and plan.';
COMMENT ON INDEX  sexton.job_one_offs_due_at IS 'When the next one-off comes due.';
COMMENT ON INDEX  sexton.job_one_offs IS 'The one-offs of each job, by who submitted them, the oldest first.';
COMMENT ON INDEX  sexton.job_submit_key IS 'Keys of one-offs that were claimed already: keeps others with theirs from running beside them.';
COMMENT ON INDEX  sexton.job_pending_key IS 'One pending one-off for each key.';
COMMENT ON COLUMN sexton.job.id IS 'Never used again, so that history stays readable after a job is gone.';
COMMENT ON COLUMN sexton.job.name IS 'Unique and safe in URLs; the functions take it.';
COMMENT ON COLUMN sexton.job.app IS 'Whose file the job belongs to: several applications may share a database.';
COMMENT ON COLUMN sexton.job.kind IS 'What the job does: purge, or a kind of your own. A kind that no replica knows is left alone.';
COMMENT ON COLUMN sexton.job.params IS 'The settings of the kind; `sexton kinds KIND` lists them.';
COMMENT ON COLUMN sexton.job.inputs IS 'Names and types of the values that run_now may set, such as {"tenant": "bigint"}.';
COMMENT ON COLUMN sexton.job.run_as IS 'The role whose rights the work uses; the editor must be a member of it.';
COMMENT ON COLUMN sexton.job.database IS 'Another database that the work is done in, by the name that replicas know it by.';
COMMENT ON COLUMN sexton.job.schedule IS 'cron, "every 45m", "after 45m", "daily 03:00", "at start", "at deploy", "once 2027-01-01T00:00Z", "manual".';
COMMENT ON COLUMN sexton.job.time_zone IS 'IANA zone in which wall-clock schedules are read.';
COMMENT ON COLUMN sexton.job.missed IS 'What becomes of missed runs: once (one run for all of them), skip, each(n).';
COMMENT ON COLUMN sexton.job.max_lateness IS 'An occurrence later than this is not run, but counted as missed. NULL: no limit (1 minute for skip).';
COMMENT ON COLUMN sexton.job.jitter IS 'Upper bound of a delay, fixed for each job, that spreads jobs which share an instant.';
COMMENT ON COLUMN sexton.job.timeout IS 'The most that one attempt may take.';
COMMENT ON COLUMN sexton.job.max_attempts IS 'Attempts for one occurrence, crashes included.';
COMMENT ON COLUMN sexton.job.backoff IS 'Wait after the first failed attempt; doubles with each.';
COMMENT ON COLUMN sexton.job.backoff_max IS 'The wait does not grow beyond this.';
COMMENT ON COLUMN sexton.job.resume_after IS 'A run that stopped with work left (window closed, back-pressure) comes back after this.';
COMMENT ON COLUMN sexton.job.pause_after IS 'Pauses the job after that many failed occurrences in a row. NULL: never; for the kind http, 5.';
COMMENT ON COLUMN sexton.job.priority IS 'Of several due jobs, the higher first.';
COMMENT ON COLUMN sexton.job.search_path IS 'search_path of the run''s session; NULL keeps the role''s or the database''s own.';
COMMENT ON COLUMN sexton.job.expect_success_every IS 'The job is overdue when its last success is older than this.';
COMMENT ON COLUMN sexton.job.keep_runs IS 'Finished runs of it that are kept; older ones are pruned. NULL: as meta.keep_runs says.';
COMMENT ON COLUMN sexton.job.keep_runs_for IS 'How long its finished runs are kept at the most. NULL: as meta.keep_runs_for says.';
COMMENT ON COLUMN sexton.job.notices IS 'Who hears of what: [{"on": ["failed"], "to": "mail:ops@example.org"}]; see docs/notices.md.';
COMMENT ON COLUMN sexton.job.resources IS 'Resources that a run holds from its claim to its end: an array of names, or {"name": …, "shared": true}. {tenant} within a name stands for the value of that input.';
COMMENT ON COLUMN sexton.job.when_held IS 'If one is held by another: wait (no attempt is used up), or skip this occurrence.';
COMMENT ON COLUMN sexton.job.shares_table IS 'Whether it may run beside other jobs on its table; if not, it holds the resource table:OID of its target.';
COMMENT ON COLUMN sexton.job.max_running IS 'How many of its one-offs may run at a time.';
COMMENT ON COLUMN sexton.job.parent_id IS 'Of a one-off: the job that it is a run of. NULL: a job of its own.';
COMMENT ON COLUMN sexton.job.source_id IS 'Of a one-off: the fan_out job that submitted it; 0 for whoever called submit().';
COMMENT ON COLUMN sexton.job.submit_key IS 'Of a one-off: the key that it was submitted with.';
COMMENT ON COLUMN sexton.job.pending_key IS 'The same until it is claimed for the first time: so long another with this key is the same one.';
COMMENT ON COLUMN sexton.job.paused_at IS 'Since when the job is paused; NULL: it is not.';
COMMENT ON COLUMN sexton.job.paused_by IS 'Who paused it.';
COMMENT ON COLUMN sexton.job.pause_reason IS 'Why, in his or her words.';
COMMENT ON COLUMN sexton.job.paused_until IS 'When the pause ends by itself; NULL: it does not.';
COMMENT ON COLUMN sexton.job.armed_revision IS 'The revision that may delete. Armed means: equal to revision. Otherwise runs of a destructive kind are dry runs.';
COMMENT ON COLUMN sexton.job.armed_at IS 'Since when.';
COMMENT ON COLUMN sexton.job.armed_by IS 'By whom.';
COMMENT ON COLUMN sexton.job.disarmed_at IS 'Set when a person disarmed the job by hand: apply does not arm it again.';
COMMENT ON COLUMN sexton.job.disarmed_by IS 'By whom.';
COMMENT ON COLUMN sexton.job.approved_rows IS 'The guards let one run through that deletes at most this many rows; used up by it.';
COMMENT ON COLUMN sexton.job.approved_by IS 'Who approved that.';
COMMENT ON COLUMN sexton.job.revision IS 'Counts the changes of kind, params, inputs, run_as and database.';
COMMENT ON COLUMN sexton.job.validated_revision IS 'The last revision that a replica found valid.';
COMMENT ON COLUMN sexton.job.invalid_reason IS 'Why a replica refuses this schedule or these params; such a job is never claimed.';
COMMENT ON COLUMN sexton.job.needs IS 'What a replica must know locally to run this revision (secret:NAME, storage:NAME, host:NAME, …), as the one that validated it read from the params. Replicas without leave it to others.';
COMMENT ON COLUMN sexton.job.target_name IS 'params.table, schema-qualified, as the editor''s search_path resolved it.';
COMMENT ON COLUMN sexton.job.target_oid IS 'The oid of that table.';
COMMENT ON COLUMN sexton.job.targets IS 'The same of each of params.targets, in their order: [{"name": …, "oid": …}]; NULL for a job without these.';
COMMENT ON COLUMN sexton.job.other_tables IS 'The same of the children and archives that the params name: [{"as": as written, "name": …, "oid": …, "may": the right that it takes}]; NULL for a job without these.';
COMMENT ON COLUMN sexton.job.applied IS 'What `sexton apply` wrote last: a row that differs was edited by hand, and is left alone.';
COMMENT ON COLUMN sexton.job.generation IS 'The generation of the file that was applied last; older files are refused.';
COMMENT ON COLUMN sexton.job.deploys IS 'The deployments that "at deploy" has already fired for, the last ten.';
COMMENT ON COLUMN sexton.job.removed_at IS 'When apply found the job gone from its file (and paused it).';
COMMENT ON COLUMN sexton.job.created_at IS 'When the job was created.';
COMMENT ON COLUMN sexton.job.edited_at IS 'When its definition was edited last.';
COMMENT ON COLUMN sexton.job.edited_by IS 'By whom: the job has no more rights than its last editor had.';
COMMENT ON COLUMN sexton.job.planned IS 'Whether a replica has worked out scheduled_at for the present schedule.';
COMMENT ON COLUMN sexton.job.scheduled_at IS 'The next regular instant of the schedule. Run now does not move it.';
COMMENT ON COLUMN sexton.job.last_scheduled_at IS 'The last regular instant that was settled; the next one must be later.';
COMMENT ON COLUMN sexton.job.plan_from IS 'Planning counts the instants that passed since then as missed. NULL: the schedule is new or edited, and never fires at once.';
COMMENT ON COLUMN sexton.job.occurrence IS 'What the next or present run is for: its identity, unchanged by retries.';
COMMENT ON COLUMN sexton.job.origin IS 'Where that occurrence comes from.';
COMMENT ON COLUMN sexton.job.due_at IS 'When to try it: the occurrence plus jitter, or the instant of a retry.';
COMMENT ON COLUMN sexton.job.attempt IS 'Attempts made for this occurrence.';
COMMENT ON COLUMN sexton.job.missed_count IS 'Regular instants that passed with no run, not yet taken over by a run''s coalesced.';
COMMENT ON COLUMN sexton.job.failure_count IS 'Occurrences in a row that ended in failure.';
COMMENT ON COLUMN sexton.job.run_options IS 'Options of this occurrence alone: dry_run, limit_rows, time_limit, range, force.';
COMMENT ON COLUMN sexton.job.run_inputs IS 'Values of the declared inputs for this occurrence.';
COMMENT ON COLUMN sexton.job.rerun IS 'Asked to run once more after the present occurrence: {"options": …, "inputs": …}.';
COMMENT ON COLUMN sexton.job.state IS 'idle, or running: then run_id, replica_id, holder and holder_pid say who.';
COMMENT ON COLUMN sexton.job.version IS 'The fencing token: +1 with every change of holder, never back.';
COMMENT ON COLUMN sexton.job.lock_id IS 'Second half of the job''s advisory lock key.';
COMMENT ON COLUMN sexton.job.worker_lock_id IS 'Second half of the key that worker sessions of a run hold shared, and a claim takes exclusively for as long as it takes.';
COMMENT ON COLUMN sexton.job.run_id IS 'The present run; part of the token, since versions repeat after a failover that lost commits.';
COMMENT ON COLUMN sexton.job.replica_id IS 'The replica that holds the job.';
COMMENT ON COLUMN sexton.job.holder IS 'The same for people: host name and process id.';
COMMENT ON COLUMN sexton.job.holder_pid IS 'Backend of the run session, which holds the advisory lock.';
COMMENT ON COLUMN sexton.job.cancel_requested_at IS 'Set by cancel(): no further batch commits.';
COMMENT ON COLUMN sexton.job.cancel_requested_by IS 'By whom.';

CREATE TABLE sexton.revision (
  job_id     bigint NOT NULL,
  revision   bigint NOT NULL,
  job_name   text   NOT NULL,
  definition jsonb  NOT NULL,
  edited_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  edited_by  text   NOT NULL,
  PRIMARY KEY (job_id, revision)
);
COMMENT ON TABLE  sexton.revision IS 'Every definition that a job ever had.';
COMMENT ON COLUMN sexton.revision.job_id IS 'The job, perhaps gone.';
COMMENT ON COLUMN sexton.revision.revision IS 'Which of its definitions.';
COMMENT ON COLUMN sexton.revision.job_name IS 'Its name then.';
COMMENT ON COLUMN sexton.revision.definition IS 'kind, params, inputs, run_as, database.';
COMMENT ON COLUMN sexton.revision.edited_at IS 'When it came to be.';
COMMENT ON COLUMN sexton.revision.edited_by IS 'Who wrote it.';

CREATE TABLE sexton.run (
  id          uuid   PRIMARY KEY,
  job_id      bigint NOT NULL,
  job_name    text   NOT NULL,
  kind        text   NOT NULL,
  occurrence  timestamptz NOT NULL,
  origin      text   NOT NULL,
  attempt     int    NOT NULL CHECK (attempt >= 1),
  epoch       bigint NOT NULL,
  version     bigint NOT NULL,
  revision    bigint NOT NULL,
  mode        text   NOT NULL CHECK (mode IN ('real', 'dry')),
  destructive boolean NOT NULL,
  params      jsonb  NOT NULL,
  options     jsonb  NOT NULL,
  inputs      jsonb  NOT NULL,
  replica_id  uuid   NOT NULL,
  holder      text   NOT NULL,
  backend_pid int    NOT NULL,
  worker_pids int[]  NOT NULL DEFAULT '{}',
  program     text   NOT NULL,
  resources   jsonb  NOT NULL DEFAULT '[]',
  parent_id   bigint,
  state       text   NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'timed_out', 'cancelled',
                                               'superseded', 'released', 'refused', 'lost')),
  started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  held_at     timestamptz,
  coalesced   bigint NOT NULL DEFAULT 0 CHECK (coalesced >= 0),
  batches     bigint,
  rows_done   bigint,
  progress    jsonb,
  report      jsonb,
  error       text,
  UNIQUE (job_id, epoch, version),
  CHECK ((state = 'running') = (finished_at IS NULL)),
  CHECK ((state = 'running') = (batches IS NULL)),
  CHECK ((state = 'running') = (rows_done IS NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX run_one_running   ON sexton.run (job_id) WHERE state = 'running';
CREATE UNIQUE INDEX run_one_succeeded ON sexton.run (job_id, occurrence) WHERE state = 'succeeded';
CREATE INDEX run_of_occurrence ON sexton.run (job_id, occurrence);
CREATE INDEX run_started_at ON sexton.run (started_at);
CREATE INDEX run_of_parent ON sexton.run (parent_id, started_at) WHERE parent_id IS NOT NULL;

COMMENT ON TABLE  sexton.run IS 'The runs: each one execution of a job by one replica. No foreign key to the job, so that history outlives it.';
COMMENT ON INDEX  sexton.run_one_running IS 'At most one running run for each job.';
COMMENT ON INDEX  sexton.run_one_succeeded IS 'At most one success for each occurrence.';
COMMENT ON INDEX  sexton.run_of_occurrence IS 'Finds the run whose cursor the next attempt inherits.';
COMMENT ON INDEX  sexton.run_of_parent IS 'History of a job''s one-offs, and its pruning.';
COMMENT ON INDEX  sexton.run_started_at IS 'History by time, and its pruning.';
COMMENT ON COLUMN sexton.run.id IS 'The claim''s uuid; equal to job.run_id while running.';
COMMENT ON COLUMN sexton.run.job_id IS 'The job, perhaps gone.';
COMMENT ON COLUMN sexton.run.job_name IS 'Its name then.';
COMMENT ON COLUMN sexton.run.kind IS 'Its kind then.';
COMMENT ON COLUMN sexton.run.occurrence IS 'What the run is for.';
COMMENT ON COLUMN sexton.run.origin IS 'Where that occurrence came from.';
COMMENT ON COLUMN sexton.run.attempt IS '1 for the first run of an occurrence.';
COMMENT ON COLUMN sexton.run.epoch IS 'With version: the order of all runs of a job.';
COMMENT ON COLUMN sexton.run.version IS 'The job''s version as of the claim.';
COMMENT ON COLUMN sexton.run.revision IS 'The definition that it ran with.';
COMMENT ON COLUMN sexton.run.mode IS 'real, or dry: the same statements, no writes.';
COMMENT ON COLUMN sexton.run.destructive IS 'Whether the kind deletes: then its batches need the job armed, and stop at pause_all().';
COMMENT ON COLUMN sexton.run.params IS 'The params that it ran with.';
COMMENT ON COLUMN sexton.run.options IS 'The options of this occurrence.';
COMMENT ON COLUMN sexton.run.inputs IS 'The inputs of this occurrence.';
COMMENT ON COLUMN sexton.run.replica_id IS 'The replica that ran it.';
COMMENT ON COLUMN sexton.run.holder IS 'The same for people.';
COMMENT ON COLUMN sexton.run.backend_pid IS 'Backend of its run session.';
COMMENT ON COLUMN sexton.run.worker_pids IS 'Backends of the worker sessions that joined it, those that are gone among them.';
COMMENT ON COLUMN sexton.run.program IS 'The program''s version and that of its time zone data.';
COMMENT ON COLUMN sexton.run.resources IS 'The resources that it held from its claim, or was holding when it ended: names, or {"name": …, "shared": true}.';
COMMENT ON COLUMN sexton.run.parent_id IS 'Of a one-off: the job that it was a run of.';
COMMENT ON COLUMN sexton.run.state IS 'running, or its outcome.';
COMMENT ON COLUMN sexton.run.started_at IS 'When it was claimed.';
COMMENT ON COLUMN sexton.run.finished_at IS 'When it ended, or was found to have ended.';
COMMENT ON COLUMN sexton.run.coalesced IS 'Regular instants that this run stands for besides its own: missed runs.';
COMMENT ON COLUMN sexton.run.batches IS 'Fenced transactions that committed; while running see run_part.';
COMMENT ON COLUMN sexton.run.rows_done IS 'Rows that these affected; while running see run_part.';
COMMENT ON COLUMN sexton.run.progress IS 'What the run said of itself on the way.';
COMMENT ON COLUMN sexton.run.report IS 'What it said at its end.';
COMMENT ON COLUMN sexton.run.held_at IS 'When a hold was set that this run does not know of: it stops, and goes on with the hold.';
COMMENT ON COLUMN sexton.run.error IS 'Why it did not succeed.';

CREATE TABLE sexton.run_part (
  run_id   uuid   NOT NULL REFERENCES sexton.run ON DELETE CASCADE,
  part     int    NOT NULL CHECK (part >= 0),
  seq      bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
  cursor   jsonb,
  rows     bigint NOT NULL DEFAULT 0 CHECK (rows >= 0),
  moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, part)
) WITH (fillfactor = 70);
COMMENT ON TABLE  sexton.run_part IS 'The progress of a run, one row for each part of its work. Written by the fence, in the transaction of the batch.';
COMMENT ON COLUMN sexton.run_part.run_id IS 'The run.';
COMMENT ON COLUMN sexton.run_part.part IS '0 is the run session''s own; those from 1 on are of a run that was split, each worked on by one worker session at a time.';
COMMENT ON COLUMN sexton.run_part.seq IS 'Batches committed. A batch names the seq that it follows, so none is stepped over.';
COMMENT ON COLUMN sexton.run_part.cursor IS 'Where the walk stands after the last batch; the next attempt starts here.';
COMMENT ON COLUMN sexton.run_part.rows IS 'Rows affected in this run.';
COMMENT ON COLUMN sexton.run_part.moved_at IS 'When the last batch committed.';

CREATE TABLE sexton.resource (
  name       text PRIMARY KEY CHECK (name ~ '\S' AND length(name) <= 1000),
  lock_id    int NOT NULL UNIQUE DEFAULT nextval('sexton.lock_id'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX resource_created_at ON sexton.resource (created_at);
COMMENT ON INDEX  sexton.resource_created_at IS 'Finds names that nobody uses any more.';
COMMENT ON TABLE  sexton.resource IS 'Names that runs lock besides their own job. Who holds one is in pg_locks and in the view sexton.resources.';
COMMENT ON COLUMN sexton.resource.name IS 'Any name, such as app:42.';
COMMENT ON COLUMN sexton.resource.lock_id IS 'Second half of its advisory lock key.';
COMMENT ON COLUMN sexton.resource.created_at IS 'When it was first asked for, or last found in use.';

CREATE TABLE sexton.waiting (
  job_id   bigint PRIMARY KEY REFERENCES sexton.job ON DELETE CASCADE,
  resource text    NOT NULL,
  shared   boolean NOT NULL,
  behind   text    NOT NULL,
  since    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX waiting_for ON sexton.waiting (resource, since);
COMMENT ON TABLE  sexton.waiting IS 'Due jobs that a claim found a resource of held by another. They are not served by who comes first, but in the order in which they began to wait.';
COMMENT ON INDEX  sexton.waiting_for IS 'Who waits for a resource, the longest first.';
COMMENT ON COLUMN sexton.waiting.job_id IS 'The job.';
COMMENT ON COLUMN sexton.waiting.resource IS 'The first of its resources that was not free.';
COMMENT ON COLUMN sexton.waiting.shared IS 'Whether it wants that shared.';
COMMENT ON COLUMN sexton.waiting.behind IS 'Who had it when the job was tried last.';
COMMENT ON COLUMN sexton.waiting.since IS 'Since when it waits.';

CREATE TABLE sexton.replica (
  id         uuid PRIMARY KEY,
  name       text NOT NULL,
  program    text NOT NULL,
  slots      int  NOT NULL CHECK (slots >= 0),
  kinds      text[] NOT NULL,
  knows      text[] NOT NULL DEFAULT '{}',
  lock_id    int  NOT NULL UNIQUE DEFAULT nextval('sexton.lock_id'),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE  sexton.replica IS 'The replicas that were started. Which are alive is told by their locks (view sexton.replicas), not by a heartbeat.';
COMMENT ON COLUMN sexton.replica.id IS 'A uuid for each start.';
COMMENT ON COLUMN sexton.replica.name IS 'Host name and process id.';
COMMENT ON COLUMN sexton.replica.program IS 'What it runs, and which version.';
COMMENT ON COLUMN sexton.replica.slots IS 'How many jobs it runs at a time.';
COMMENT ON COLUMN sexton.replica.kinds IS 'The kinds that it knows.';
COMMENT ON COLUMN sexton.replica.knows IS 'The names in its local file (secret:NAME, storage:NAME, host:NAME, …), never what stands behind them.';
COMMENT ON COLUMN sexton.replica.lock_id IS 'Second half of the advisory lock key that its control session holds.';
COMMENT ON COLUMN sexton.replica.started_at IS 'When it started.';

CREATE TABLE sexton.audit (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor    text NOT NULL,
  verb     text NOT NULL,
  job_id   bigint,
  job_name text,
  run_id   uuid,
  detail   jsonb NOT NULL DEFAULT '{}',
  owner      text,
  noticed_at timestamptz
);
CREATE INDEX audit_at ON sexton.audit (at);
CREATE INDEX audit_to_notice ON sexton.audit (job_id, owner) WHERE owner IS NOT NULL AND noticed_at IS NULL;
COMMENT ON TABLE  sexton.audit IS 'Who did what: every verb of a person, every edit of a definition, and what runs note of their own changes.';
COMMENT ON INDEX  sexton.audit_at IS 'By time, and its pruning.';
COMMENT ON INDEX  sexton.audit_to_notice IS 'Changes whose owner is still to be told.';
COMMENT ON COLUMN sexton.audit.id IS 'Order of entry.';
COMMENT ON COLUMN sexton.audit.at IS 'When.';
COMMENT ON COLUMN sexton.audit.actor IS 'The login role, or the name that a trusted front end set as sexton.actor.';
COMMENT ON COLUMN sexton.audit.verb IS 'What was done.';
COMMENT ON COLUMN sexton.audit.job_id IS 'To which job.';
COMMENT ON COLUMN sexton.audit.job_name IS 'Its name then.';
COMMENT ON COLUMN sexton.audit.run_id IS 'To or by which run.';
COMMENT ON COLUMN sexton.audit.detail IS 'With what arguments; of a change by a run: table, key of the row, and what was removed.';
COMMENT ON COLUMN sexton.audit.owner IS 'Whose row a run changed, if its owner is to be told.';
COMMENT ON COLUMN sexton.audit.noticed_at IS 'When the notice about it was written.';

CREATE TABLE sexton.notice (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  event    text NOT NULL CHECK (event IN ('started', 'succeeded', 'failed', 'refused', 'recovered', 'changed', 'overdue',
                                          'paused_itself', 'lock_held_by_stranger', 'channel_off', 'adopt_needed')),
  job_id   bigint,
  job_name text,
  app      text,
  run_id   uuid,
  payload_version int NOT NULL DEFAULT 1,
  payload  jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX notice_at ON sexton.notice (at);
COMMENT ON TABLE  sexton.notice IS 'What people should hear of: written in the transaction that it is about, so none is lost and none is invented.';
COMMENT ON INDEX  sexton.notice_at IS 'By time, and its pruning.';
COMMENT ON COLUMN sexton.notice.id IS 'Order of entry.';
COMMENT ON COLUMN sexton.notice.at IS 'When.';
COMMENT ON COLUMN sexton.notice.event IS 'What happened. started and succeeded are written only where somebody wants to hear of them.';
COMMENT ON COLUMN sexton.notice.job_id IS 'About which job; NULL where it is about the whole installation.';
COMMENT ON COLUMN sexton.notice.job_name IS 'Its name then.';
COMMENT ON COLUMN sexton.notice.app IS 'Whose file it belongs to.';
COMMENT ON COLUMN sexton.notice.run_id IS 'About which run.';
COMMENT ON COLUMN sexton.notice.payload_version IS 'Says how to read the payload: raised when a field changes its meaning or goes away.';
COMMENT ON COLUMN sexton.notice.payload IS 'The run''s facts as they were then: kind, outcome, error, report, counts; see docs/notices.md.';

CREATE TABLE sexton.deferred (
  job_id   bigint NOT NULL REFERENCES sexton.job ON DELETE CASCADE,
  row_key  text   NOT NULL,
  run_id   uuid   NOT NULL,
  class    text   NOT NULL CHECK (class IN ('http_5xx', 'http_4xx', 'timeout', 'connect', 'other')),
  target   text,
  attempts int    NOT NULL CHECK (attempts >= 0),
  first_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_try timestamptz NOT NULL,
  error    text,
  PRIMARY KEY (job_id, row_key)
);
COMMENT ON TABLE  sexton.deferred IS 'Rows of an application that a job could not finish yet, since a call outside did not succeed: tried again when next_try is over. The rows themselves are not touched.';
COMMENT ON COLUMN sexton.deferred.job_id IS 'The job.';
COMMENT ON COLUMN sexton.deferred.row_key IS 'The row, by the values of its primary key, as a JSON array of texts.';
COMMENT ON COLUMN sexton.deferred.run_id IS 'The run that deferred it last.';
COMMENT ON COLUMN sexton.deferred.class IS 'What the last call came to, in one word.';
COMMENT ON COLUMN sexton.deferred.target IS 'Whom it went to.';
COMMENT ON COLUMN sexton.deferred.attempts IS 'Rounds of calls that did not succeed; 0 if none was made since its target was down.';
COMMENT ON COLUMN sexton.deferred.first_at IS 'When it was deferred first.';
COMMENT ON COLUMN sexton.deferred.last_at IS 'When it was deferred last.';
COMMENT ON COLUMN sexton.deferred.next_try IS 'Runs leave it alone before; infinity: it was tried as often as the job allows.';
COMMENT ON COLUMN sexton.deferred.error IS 'Why, in a sentence.';

INSERT INTO sexton.meta DEFAULT VALUES;
