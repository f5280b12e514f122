//! What `sexton import pg_cron` proposes, for a schema `cron` as the extension makes it.

use sexton::{
    edge::{
        apply::{self, Options},
        import,
    },
    kind::Registry,
};

use super::support::{Database, empty, migrated, read_with_builtins as read};

/// pg_cron 1.6, but for its functions and sequences' names: the table, its rights and its row security.
const CRON: &str = "
CREATE SCHEMA cron;
CREATE TABLE cron.job (
  jobid bigserial PRIMARY KEY, schedule text NOT NULL, command text NOT NULL, nodename text NOT NULL DEFAULT 'localhost',
  nodeport int NOT NULL DEFAULT 5432, database text NOT NULL DEFAULT current_database(),
  username text NOT NULL DEFAULT current_user, active boolean NOT NULL DEFAULT true, jobname text,
  CONSTRAINT jobname_username_uniq UNIQUE (jobname, username));
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job USING (username = CURRENT_USER);";

const JOBS: &str = "
CREATE TABLE events (id bigint, at timestamptz, \"Seen On\" date, local timestamp);
CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM events;
INSERT INTO cron.job (schedule, jobname, command) VALUES
  ('0 3 * * *', 'old events', $$DELETE FROM events WHERE at < now() - interval '30 days';$$),
  ('30 seconds', NULL, $$DELETE FROM events WHERE now() - '1 year'::interval > \"Seen On\"$$),
  ('*/5 * * * *', 'expired', $$DELETE FROM events WHERE local < now()$$),
  ('0 4 * * *', 'short', $$DELETE FROM events WHERE at < now() - interval '5 minutes'$$),
  ('0 4 * * *', 'no table', $$DELETE FROM nowhere WHERE at < now() - interval '5 days'$$),
  ('0 5 * * *', 'not an interval', $$DELETE FROM events WHERE at < now() - interval 'soon'$$),
  ('0 0 $ * *', 'month', $$SELECT '${no} variable; no end', 'a'::text$$),
  ('@daily', 'vacuum', 'VACUUM (ANALYZE) events'),
  ('@weekly', 'all', 'VACUUM'),
  ('0 * * * *', 'sums', 'REFRESH MATERIALIZED VIEW CONCURRENTLY sums'),
  ('0 6 * * *', 'two', 'SELECT 1; SELECT 2'),
  ('0 6 * * *', 'full', 'VACUUM FULL events'),
  ('0 6 * * *', E'odd\\nname', 'SELECT 7'),
  ('0 6 * * *', 'open', $$SELECT 'x$$);
INSERT INTO cron.job (schedule, jobname, command, active) VALUES ('0 7 * * *', 'asleep', 'SELECT 1', false);
INSERT INTO cron.job (schedule, jobname, command, database) VALUES ('0 7 * * *', 'elsewhere', 'SELECT 1', 'other');
INSERT INTO cron.job (schedule, jobname, command, nodename) VALUES ('0 7 * * *', 'afar', 'SELECT 1', '10.0.0.7');
INSERT INTO cron.job (schedule, jobname, command, username) VALUES ('0 7 * * *', 'gone', 'SELECT 1', 'nobody_of_that_name');
INSERT INTO cron.job (schedule, jobname, command, username) VALUES
  ('0 7 * * *', 'reader', 'SELECT 8', 'pg_read_all_data'), ('0 7 * * *', 'expired', 'ANALYZE events', 'pg_read_all_data');";

async fn proposal(database: &Database) -> String {
    import::pg_cron(&database.client, &Registry::with_builtins()).await.expect("it can be proposed")
}

/// How the file says a job: `kind schedule params`, and whose rights it has.
fn said(text: &str, name: &str) -> String {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let job = table["jobs"][name].as_table().unwrap_or_else(|| panic!("no {name} in\n{text}"));
    let kind = job.iter().find_map(|(key, value)| value.is_table().then_some(key)).expect("a kind");
    let params = job[kind].as_table().expect("params");
    let mut params: Vec<String> = params.iter().map(|(key, value)| format!("{key}={value}")).collect();
    params.sort();
    let role = job.get("run_as").map(|role| format!(" as {role}")).unwrap_or_default();
    format!("{kind} {} {}{role}", job["schedule"], params.join(" "))
}

#[tokio::test]
async fn the_proposal_can_be_applied_and_says_what_pg_cron_does() {
    let database = migrated().await;
    database.run(CRON).await;
    database.run(JOBS).await;
    let before = database.text("SELECT jsonb_agg(j ORDER BY jobid)::text FROM cron.job j").await;
    let text = proposal(&database).await;
    let config = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert!(config.jobs().iter().all(|job| !job.is_armed()), "{text}");
    let outcome = apply::plan(&database.connector, &config, &Options::default()).await;
    let outcome = outcome.unwrap_or_else(|failure| panic!("{failure}\n{text}"));
    assert_eq!(outcome.jobs.len(), 13, "{text}");
    for (name, says) in [
        ("old-events", r#"purge "0 3 * * *" by="at" retention="30 days" table="events""#),
        ("cron-2", r#"purge "every 30s" by="\"Seen On\"" retention="1 year" table="events""#),
        ("expired", r#"purge "*/5 * * * *" expires="local" table="events""#),
        (
            "short",
            r#"sql "0 4 * * *" statement="DELETE FROM events WHERE at < now() - interval '5 minutes'""#,
        ),
        (
            "no-table",
            r#"sql "0 4 * * *" statement="DELETE FROM nowhere WHERE at < now() - interval '5 days'""#,
        ),
        (
            "not-an-interval",
            r#"sql "0 5 * * *" statement="DELETE FROM events WHERE at < now() - interval 'soon'""#,
        ),
        ("month", r#"sql "0 0 L * *" statement="SELECT '$${no} variable; no end', 'a'::text""#),
        ("vacuum", r#"upkeep "@daily" actions=["vacuum", "analyze"] tables=["events"]"#),
        ("all", r#"upkeep "@weekly" actions=["vacuum"]"#),
        ("sums", r#"upkeep "0 * * * *" refresh=["sums"]"#),
        ("odd-name", r#"sql "0 6 * * *" statement="SELECT 7""#),
        ("reader", r#"sql "0 7 * * *" statement="SELECT 8" as "pg_read_all_data""#),
        ("expired-2", r#"upkeep "0 7 * * *" actions=["analyze"] tables=["events"]"#),
    ] {
        let said = said(&text, name).replace('\'', "\"").replace("\\\"", "\"");
        assert_eq!(said, says.replace('\'', "\"").replace("\\\"", "\""), "{name}");
    }
    assert_eq!(database.text("SELECT jsonb_agg(j ORDER BY jobid)::text FROM cron.job j").await, before);
    assert_eq!(database.text("SELECT count(*)::text FROM sexton.job").await, "0");
}

#[tokio::test]
async fn what_has_no_counterpart_is_named_with_the_reason() {
    let database = empty().await;
    database.run(CRON).await;
    database.run(JOBS).await;
    let text = proposal(&database).await;
    for (job, why) in [
        ("two", "# No counterpart: a job has one statement, and this has 2"),
        ("full", "# No counterpart: "),
        ("open", "# No counterpart: 'x is not closed"),
        ("elsewhere", "# No counterpart: it works in the database other"),
        ("afar", "# No counterpart: it works on the server 10.0.0.7"),
        ("gone", "# No counterpart: there is no role nobody_of_that_name any more"),
        (
            "asleep",
            "# It is not active there, so it is left out here:\n# [jobs.asleep]\n# schedule = \"0 7 * * *\"",
        ),
    ] {
        let block = text.split("\n\n").find(|block| block.contains(&format!(", {job}, `")));
        let block = block.unwrap_or_else(|| panic!("nothing about {job} in\n{text}"));
        assert!(block.contains(why) && !block.contains("\n[jobs"), "{block}");
    }
}

#[tokio::test]
async fn old_versions_zones_and_empty_tables_are_read_too() {
    let database = migrated().await;
    let none = import::pg_cron(&database.client, &Registry::with_builtins())
        .await
        .expect_err("there is no cron.job");
    assert!(none.to_string().contains("cron.job"), "{none}");
    let old = "CREATE SCHEMA cron; CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport int, database text, username text)";
    database.run(old).await;
    let text = proposal(&database).await;
    assert!(read(&text).is_ok_and(|config| config.jobs().is_empty()), "{text}");
    database.run("INSERT INTO cron.job VALUES (1, '0 3 * * 1', 'SELECT 1', 'localhost', 5432, current_database(), current_user); SET cron.timezone = 'Europe/Paris'").await;
    let text = proposal(&database).await;
    assert!(text.contains("time_zone = \"Europe/Paris\""), "{text}");
    assert!(read(&text).is_ok_and(|config| config.jobs().len() == 1), "{text}");
}

/// What of pg_timetable 5 holds its chains.
const TIMETABLE: &str = "
CREATE SCHEMA timetable;
CREATE TYPE timetable.command_kind AS ENUM ('SQL', 'PROGRAM', 'BUILTIN');
CREATE DOMAIN timetable.cron AS text;
CREATE TABLE timetable.chain (
  chain_id bigserial PRIMARY KEY, chain_name text NOT NULL UNIQUE, run_at timetable.cron, max_instances int,
  timeout int DEFAULT 0, live boolean DEFAULT false, self_destruct boolean DEFAULT false,
  exclusive_execution boolean DEFAULT false, client_name text, on_error text);
CREATE TABLE timetable.task (
  task_id bigserial PRIMARY KEY, chain_id bigint REFERENCES timetable.chain, task_order float8 NOT NULL DEFAULT 10, task_name text,
  kind timetable.command_kind NOT NULL DEFAULT 'SQL', command text NOT NULL, run_as text, database_connection text,
  ignore_error boolean NOT NULL DEFAULT false, autonomous boolean NOT NULL DEFAULT false, timeout int DEFAULT 0);
CREATE TABLE timetable.parameter (task_id bigint REFERENCES timetable.task, order_id int, value jsonb);";

const CHAINS: &str = "
CREATE TABLE events (id bigint, at timestamptz);
INSERT INTO timetable.chain (chain_name, run_at, live) VALUES
  ('old events', '0 3 * * *', true), ('often', '@every 5 minutes', true), ('rest', '@after 1 hour', true),
  ('by hand', NULL, true), ('many', '0 4 * * *', true), ('script', '0 4 * * *', true), ('log', '0 4 * * *', true),
  ('elsewhere', '0 4 * * *', true), ('with values', '0 4 * * *', true), ('empty', '0 4 * * *', true), ('asleep', '@reboot', false);
INSERT INTO timetable.task (chain_id, kind, command, run_as, database_connection)
SELECT c.chain_id, t.kind::timetable.command_kind, t.command, t.run_as, t.elsewhere
  FROM (VALUES ('old events', 'SQL', $$DELETE FROM events WHERE at < now() - interval '30 days'$$, NULL, NULL),
               ('often', 'SQL', 'SELECT 1', 'pg_read_all_data', NULL), ('rest', 'SQL', 'VACUUM events', NULL, NULL),
               ('by hand', 'SQL', 'SELECT 2', NULL, NULL), ('many', 'SQL', 'SELECT 3', NULL, NULL), ('many', 'SQL', 'SELECT 4', NULL, NULL),
               ('script', 'PROGRAM', 'psql', NULL, NULL), ('log', 'BUILTIN', 'Log', NULL, NULL),
               ('elsewhere', 'SQL', 'SELECT 5', NULL, 'host=there'), ('with values', 'SQL', 'SELECT $1', NULL, NULL),
               ('asleep', 'SQL', 'SELECT 6', NULL, NULL)) AS t (chain, kind, command, run_as, elsewhere)
  JOIN timetable.chain c ON c.chain_name = t.chain;
INSERT INTO timetable.parameter SELECT task_id, 1, '[42]' FROM timetable.task WHERE command = 'SELECT $1';
UPDATE timetable.chain SET timeout = 5000, exclusive_execution = true, client_name = 'worker', on_error = 'SELECT 7', self_destruct = true
 WHERE chain_name = 'by hand';";

#[tokio::test]
async fn chains_of_one_statement_are_proposed_and_others_named_with_the_reason() {
    let database = migrated().await;
    let proposal = async || import::pg_timetable(&database.client, &Registry::with_builtins()).await;
    let none = proposal().await.expect_err("there is no timetable.chain");
    assert!(none.to_string().contains("timetable.chain"), "{none}");
    database.run(TIMETABLE).await;
    assert!(proposal().await.is_ok_and(|text| read(&text).is_ok_and(|config| config.jobs().is_empty())));
    database.run(CHAINS).await;
    let text = proposal().await.expect("it can be proposed");
    let config = read(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let outcome = apply::plan(&database.connector, &config, &Options::default()).await;
    assert_eq!(outcome.unwrap_or_else(|failure| panic!("{failure}\n{text}")).jobs.len(), 4, "{text}");
    for (name, says) in [
        ("old-events", r#"purge "0 3 * * *" by="at" retention="30 days" table="events""#),
        ("often", r#"sql "every 300s" statement="SELECT 1" as "pg_read_all_data""#),
        ("rest", r#"upkeep "after 3600s" actions=["vacuum"] tables=["events"]"#),
        ("by-hand", r#"sql "manual" statement="SELECT 2""#),
    ] {
        assert_eq!(said(&text, name).replace('\'', "\""), says, "{text}");
    }
    for (chain, why) in [
        ("many", "this has 2 tasks"),
        ("script", "[commands]"),
        ("log", "built into pg_timetable"),
        ("elsewhere", "database_connection"),
        ("with values", "write their values into the statement"),
        ("empty", "it has no task"),
        ("asleep", "# [jobs.asleep]\n# schedule = \"at start\""),
    ] {
        let block = text.split("\n\n").find(|block| block.contains(&format!(", {chain}, `"))).unwrap();
        assert!(block.contains(why) && !block.contains("\n[jobs"), "{block}");
    }
    for note in ["exclusive_execution", "self_destruct", "client_name", "5000 ms", "on_error"] {
        assert!(text.contains(note), "{note} in\n{text}");
    }
    assert!(text.contains("# pg_timetable's chain 1, old events, `0 3 * * *`, as postgres:"), "{text}");
}
