//! The command line as a process against a real database: exit codes, answers, JSON, and that verbs mean in SQL what
//! they mean here.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use sexton::{
    edge::cluster::Cluster,
    protocol::{connect::Connector, verbs},
    statements,
};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of the test's own.
struct Database {
    dsn: String,
    client: Client,
}

impl Database {
    async fn empty() -> Self {
        let cluster = CLUSTER
            .get_or_init(|| async {
                Cluster::builder().tcp().start().await.expect("a private cluster starts")
            })
            .await;
        let name = format!("cli{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.create_database(&name).await.expect("a database can be created");
        let opened = Connector::from(cluster.config(&name)).open("test", &[]).await;
        Database { dsn: cluster.conninfo(&name), client: opened.expect("a session can be opened").client }
    }

    /// With the schema, a table, and two purges of it.
    async fn with_jobs() -> Self {
        let database = Self::empty().await;
        database.sexton(&["migrate", "--no-roles"]).done();
        let script = "CREATE TABLE audit_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL);
             SELECT sexton.schedule_purge('audit_log', 'created_at', '30 days', name => 'audit-logs');
             SELECT sexton.schedule_purge('audit_log', 'created_at', '1 day', 'every 15m', name => 'sessions')";
        database.client.batch_execute(script).await.expect("the jobs can be written");
        database
    }

    fn sexton(&self, args: &[&str]) -> Ended {
        sexton(&[&["--database", &self.dsn], args].concat())
    }
}

/// How the program ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    #[track_caller]
    fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Ended with this code, one line of error that has this text, and a remedy.
    #[track_caller]
    fn failed(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let error = self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains(text), "{self:?}");
        assert!(self.stderr.lines().any(|line| line.starts_with("help: ")), "{self:?}");
        assert!(!self.stderr.contains('\u{1b}'), "colored into a pipe: {self:?}");
    }
}

fn sexton(args: &[&str]) -> Ended {
    let mut command = cargo_bin_cmd!("sexton");
    for name in
        ["DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "SEXTON_LOG", "RUST_LOG"]
    {
        command.env_remove(name);
    }
    let output = command.args(args).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in verbs::ALL {
        let help = sexton(&[verb.command, "--help"]).done();
        assert!(help.starts_with(verb.help), "{help}");
        assert!(help.contains("Example: sexton "), "{help}");
    }
    assert!(sexton(&["--version"]).done().starts_with("sexton 0."));
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["jbos"][..],
        &["pause"],
        &["jobs", "--bogus"],
        &["--database", "postgres://h/x?sslmode=nope", "jobs"],
    ] {
        assert_eq!(sexton(args).code, 2, "{args:?}");
    }
    sexton(&["oneshot", "--dry-run"]).failed(2, "need the job");
}

#[test]
fn no_server_exits_with_4() {
    sexton(&["--database", "host=/nonexistent dbname=x user=y", "jobs"]).failed(4, "/nonexistent");
    sexton(&["--database", "host=/nonexistent dbname=x user=y", "run"]).failed(4, "/nonexistent");
}

#[test]
fn embedded_keeps_its_data_from_command_to_command() {
    // As root, the server runs under another account, which must be able to enter the folder.
    let home = tempfile::Builder::new().prefix("sexton-cli").tempdir_in("/var/tmp").expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(home.path(), open).expect("the folder is ours");
    let database = format!("embedded:{}", home.path().join("data").display());
    sexton(&["--database", &database, "migrate"]).done();
    let told = sexton(&["--database", &database, "jobs"]).done();
    assert!(told.contains("There are no jobs yet"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_database_exit_with_4() {
    let database = Database::empty().await;
    let cluster = CLUSTER.get().expect("it runs");
    let right = cluster.tcp_conninfo("postgres").expect("it listens on TCP");
    let wrong = format!("{right} password=wrong");
    sexton(&["--database", &wrong, "jobs"]).failed(4, "password");
    sexton(&["--database", &format!("{} dbname=nope", database.dsn), "jobs"]).failed(4, "nope");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_schema_names_migrate_and_migrate_makes_it() {
    let database = Database::empty().await;
    for args in
        [&["jobs"][..], &["pause", "x"], &["run"], &["oneshot"], &["exec", "--lock", "a", "--", "true"]]
    {
        let ended = database.sexton(args);
        assert!(ended.stderr.contains("sexton migrate"), "{ended:?}");
        ended.failed(1, "schema sexton");
    }
    assert_eq!(database.sexton(&["migrate", "--check"]).code, 1);
    let script = database.sexton(&["migrate", "--print", "--no-roles"]).done();
    assert!(script.contains("CREATE TABLE sexton.job "), "{script}");
    database.sexton(&["migrate", "--no-roles"]).done();
    assert_eq!(database.sexton(&["migrate", "--check", "--json"]).json()["complete"], true);
    assert!(database.sexton(&["jobs"]).done().contains("sexton apply"));
    assert!(database.sexton(&["runs"]).done().contains("sexton run"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_job_is_told_with_the_name_that_was_meant() {
    let database = Database::with_jobs().await;
    for verb in [
        "pause", "resume", "arm", "disarm", "cancel", "kill", "run-now", "why", "show", "next", "runs",
        "watch", "plan",
    ] {
        let ended = database.sexton(&[verb, "audit-log"]);
        assert!(ended.stderr.contains("Did you mean \"audit-logs\"?"), "{verb}: {ended:?}");
        ended.failed(2, "there is no job \"audit-log\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_and_resume_show_in_jobs_and_why() {
    let database = Database::with_jobs().await;
    let said = database.sexton(&["pause", "audit-logs", "--reason", "incident 42", "--until", "2h"]).done();
    assert_eq!(said, "audit-logs is paused.\n");
    let why = database.sexton(&["why", "audit-logs"]).done();
    assert!(why.contains("incident 42") && why.contains("until"), "{why}");
    let jobs = database.sexton(&["jobs", "--json"]).json();
    assert_eq!((&jobs[0]["name"], &jobs[0]["state"]), (&"audit-logs".into(), &"paused".into()));
    assert_eq!(jobs[1]["state"], "idle");
    database.sexton(&["run-now", "audit-logs"]).failed(3, "paused by");
    assert!(database.sexton(&["resume", "audit-logs"]).done().contains("is resumed"));
    let table = database.sexton(&["jobs"]).done();
    assert!(table.lines().any(|line| line.starts_with("audit-logs  purge  idle   no")), "{table}");
    database.sexton(&["pause", "audit-logs", "--until", "yesterday"]).failed(2, "yesterday");
}

#[tokio::test(flavor = "multi_thread")]
async fn arming_approving_and_disarming_go_through() {
    let database = Database::with_jobs().await;
    assert!(database.sexton(&["arm", "audit-logs", "--approve", "250000"]).done().contains("250000"));
    let show = database.sexton(&["show", "audit-logs"]).done();
    assert!(show.contains("armed        yes, by ") && show.contains("250,000 rows, for one run"), "{show}");
    assert_eq!(database.sexton(&["show", "audit-logs", "--json"]).json()["job"]["armed"], true);
    database.sexton(&["disarm", "audit-logs"]).done();
    assert_eq!(database.sexton(&["show", "audit-logs", "--json"]).json()["job"]["armed"], false);
    let row =
        database.client.query_one("SELECT count(*) FROM sexton.audit WHERE verb IN ('arm', 'disarm')", &[]);
    assert_eq!(row.await.expect("it can be counted").get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_now_exits_with_3() {
    let database = Database::with_jobs().await;
    database.sexton(&["cancel", "audit-logs"]).failed(3, "not running");
    assert_eq!(database.sexton(&["kill", "audit-logs"]).code, 3);
    database.sexton(&["run-now", "audit-logs", "--input", "tenant=1"]).failed(2, "not declared");
    database.sexton(&["run-now", "audit-logs", "--input", "tenant"]).failed(2, "has no value");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_now_takes_options_for_that_run() {
    let database = Database::with_jobs().await;
    let args = ["run-now", "audit-logs", "--dry-run", "--limit-rows", "10", "--time-limit", "5m"];
    assert_eq!(database.sexton(&args).done(), "audit-logs is due now.\n");
    let row =
        database.client.query_one("SELECT run_options FROM sexton.job WHERE name = 'audit-logs'", &[]).await;
    let options: Value = row.expect("the job is there").get(0);
    assert_eq!(options, serde_json::json!({"dry_run": true, "limit_rows": 10, "time_limit": "5m"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn next_lists_the_grid_and_what_is_due_ahead_of_it() {
    let database = Database::with_jobs().await;
    let coming = database.sexton(&["next", "audit-logs", "-n", "3", "--json"]).json();
    assert_eq!(coming.as_array().map(Vec::len), Some(3));
    assert!(coming[0]["at"].as_str().is_some_and(|at| at.ends_with("T03:00:00Z")), "{coming}");
    database.sexton(&["run-now", "audit-logs"]).done();
    let coming = database.sexton(&["next", "audit-logs", "-n", "3", "--json"]).json();
    assert_eq!((&coming[0]["origin"], &coming[1]["origin"]), (&"run_now".into(), &"schedule".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_lists_can_say_it_in_json() {
    let database = Database::with_jobs().await;
    for args in
        [&["jobs"][..], &["runs"], &["next", "sessions"], &["kinds"], &["doctor"], &["watch", "--once"]]
    {
        let value = database.sexton(&[args, &["--json"]].concat()).json();
        assert!(value.is_array(), "{args:?}: {value}");
    }
    for args in [&["why", "sessions"][..], &["show", "sessions"], &["pause-all"], &["resume-all"], &["adopt"]]
    {
        let value = database.sexton(&[args, &["--json"]].concat()).json();
        assert!(value.is_object(), "{args:?}: {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_fails_for_a_table_that_is_gone_or_hidden() {
    let database = Database::with_jobs().await;
    let verdict = |findings: &Value, check: &str| {
        let all = findings.as_array().cloned().unwrap_or_default();
        all.into_iter().find(|finding| finding["check"] == check).map(|finding| finding["verdict"].clone())
    };
    let findings = database.sexton(&["doctor", "--json"]).json();
    assert_eq!(verdict(&findings, "server"), Some("ok".into()), "{findings}");
    assert_eq!(verdict(&findings, "purges"), Some("ok".into()), "{findings}");
    assert_eq!(verdict(&findings, "replicas"), Some("warn".into()), "{findings}");
    database.client.batch_execute("DROP TABLE audit_log").await.expect("it can be dropped");
    let ended = database.sexton(&["doctor"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("audit-logs: public.audit_log does not exist"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_warns_of_a_foreign_key_without_index() {
    let database = Database::with_jobs().await;
    let script = "CREATE TABLE child (parent bigint REFERENCES audit_log)";
    database.client.batch_execute(script).await.expect("it can be created");
    let ended = database.sexton(&["doctor"]).done();
    assert!(ended.contains("child.child_parent_fkey has no index"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_another_database_goes_from_the_file_to_its_end() {
    let (home, there) = (Database::empty().await, Database::empty().await);
    home.sexton(&["migrate", "--no-roles"]).done();
    let script = "CREATE SCHEMA shop; CREATE TABLE shop.orders (id int, closed_at timestamptz);
         INSERT INTO shop.orders SELECT n, now() - interval '1 year' * n FROM generate_series(1, 10) n";
    there.client.batch_execute(script).await.expect("it can be created");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (jobs, local) = (path("sexton.toml"), path("local.toml"));
    let file = "[jobs.orders]\ndatabase = \"archive\"\narmed = true\n[jobs.orders.purge]\ntable = \"shop.orders\"\n\
                by = \"closed_at\"\nretention = \"7 years\"\n";
    std::fs::write(&jobs, file).expect("it can be written");
    let known = format!("[databases.archive]\nconninfo = {}\n", toml::Value::from(there.dsn.clone()));
    std::fs::write(&local, known).expect("it can be written");
    home.sexton(&["apply", "-f", &jobs]).done();
    let listed = home.sexton(&["jobs"]).done();
    assert!(listed.contains("DATABASE") && listed.contains("archive"), "{listed}");
    let doctor = home.sexton(&["doctor", "--config", &local]);
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("archive has no schema sexton_fence"), "{doctor:?}");
    there.sexton(&["migrate", "--fence", "--no-roles"]).done();
    let again = there.sexton(&["migrate", "--fence", "--no-roles"]).done();
    assert!(again.starts_with("The schema sexton_fence is up to date; it belongs to"), "{again}");
    let doctor = home.sexton(&["doctor", "--config", &local]).done();
    assert!(doctor.contains("archive is reached as"), "{doctor}");
    home.sexton(&["hold", "shop.orders", "id = 10", "--reason", "a case", "--in", "archive"]).done();
    let shown = home.sexton(&["show", "orders"]).done();
    assert!(shown.contains("1: shop.orders in archive where id = 10"), "{shown}");
    let plan = home.sexton(&["plan", "orders", "--config", &local]).done();
    assert!(plan.contains("would delete 3 of 10 rows"), "{plan}");
    assert!(plan.contains("hold ") && plan.contains("a case"), "{plan}");
    home.sexton(&["oneshot", "orders", "--config", &local]).done();
    let left =
        there.client.query_one("SELECT count(*) FROM shop.orders", &[]).await.expect("it can be counted");
    assert_eq!(left.get::<_, i64>(0), 7);
    let elsewhere = format!("{file}[jobs.tidy]\ndatabase = \"archive\"\n[jobs.tidy.upkeep]\n");
    std::fs::write(&jobs, elsewhere).expect("it can be written");
    let refused = home.sexton(&["apply", "-f", &jobs]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let said = "job tidy: database: the kind upkeep works in the database of the schema sexton alone";
    assert!(refused.stderr.contains(said), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oneshot_without_anything_due_ends_at_once() {
    let database = Database::with_jobs().await;
    database.client.batch_execute("DELETE FROM sexton.job").await.expect("jobs can be deleted");
    assert_eq!(database.sexton(&["oneshot"]).done(), "Nothing was due.\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut sexton = Command::new(assert_cmd::cargo::cargo_bin!("sexton"));
    let mut child =
        sexton.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().expect("it starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("it is piped"), &mut stderr)
        .expect("it is text");
    assert!(child.wait().expect("it ends").success(), "{stderr}");
    assert_eq!(stderr, "");
}

const FILE: &str = "[jobs.audit-logs]
schedule = \"daily 03:00\"

[jobs.audit-logs.purge]
table = \"audit_log\"
by = \"created_at\"
retention = \"30 days\"
";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shown_applied_and_left_alone_where_edited_by_hand() {
    let database = Database::with_jobs().await;
    database.client.batch_execute("DELETE FROM sexton.job").await.expect("jobs can be deleted");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sexton.toml");
    let file = file.to_str().expect("a readable path");
    database.sexton(&["init", "-o", file]).done();
    database.sexton(&["init", "-o", file]).failed(3, "not overwritten");
    std::fs::write(file, FILE.replace("retention", "retentoin")).expect("it can be written");
    let ended = database.sexton(&["apply", "-f", file]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("sexton.toml:7:1") && ended.stderr.contains("`retention`"), "{ended:?}");
    std::fs::write(file, FILE).expect("it can be written");
    assert!(sexton(&["apply", "-f", file, "--show"]).done().contains("retention = \"30 days\""));
    assert!(database.sexton(&["apply", "-f", file, "--dry-run"]).done().contains("nothing was written"));
    assert_eq!(database.sexton(&["jobs", "--json"]).json(), serde_json::json!([]));
    assert_eq!(database.sexton(&["apply", "-f", file, "--json"]).json()["jobs"][0]["change"], "created");
    let edit = "UPDATE sexton.job SET params = params || '{\"retention\": \"90 days\"}'";
    database.client.batch_execute(edit).await.expect("it can be edited");
    assert_eq!(database.sexton(&["apply", "-f", file]).code, 3);
    database.sexton(&["apply", "-f", file, "--overwrite"]).done();
    let params = database.sexton(&["show", "audit-logs", "--json"]).json()["job"]["params"].clone();
    assert_eq!(params["retention"], "30 days");
}

impl Database {
    /// Rows of which three of four are older than 30 days.
    async fn fill(&self) {
        let script = "INSERT INTO audit_log (created_at) SELECT now() - make_interval(days => d)
                      FROM unnest(ARRAY[1, 40, 50, 60]) d; ANALYZE audit_log";
        self.client.batch_execute(script).await.expect("it can be filled");
    }

    async fn rows(&self) -> i64 {
        let row = self.client.query_one("SELECT count(*) FROM audit_log", &[]).await;
        row.expect("rows can be counted").get(0)
    }

    /// Waits until this query says true.
    async fn until(&self, question: &str) {
        for _ in 0..600 {
            let row = self.client.query_one(question, &[]).await.expect("it can be asked");
            if row.get::<_, Option<bool>>(0) == Some(true) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never came true: {question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_would_go_and_takes_nothing() {
    let database = Database::with_jobs().await;
    database.fill().await;
    let plan = database.sexton(&["plan", "audit-logs"]).done();
    assert!(plan.starts_with("A run of audit-logs now would delete 3 of "), "{plan}");
    assert!(plan.contains("would be refused") && plan.contains("--approve"), "{plan}");
    assert_eq!(database.rows().await, 4);
    let runs = database.sexton(&["runs", "--json"]).json();
    assert_eq!((&runs[0]["state"], &runs[0]["mode"]), (&"succeeded".into(), &"dry".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_falls_behind_is_seen_in_jobs_show_plan_and_why() {
    let database = Database::with_jobs().await;
    assert!(!database.sexton(&["jobs"]).done().contains("ELIGIBLE"));
    let fill = "INSERT INTO audit_log (created_at) SELECT now() - i * interval '1 hour' FROM generate_series(1, 2400) i;
        UPDATE sexton.job SET params = params || '{\"limit_rows\": 10, \"max_fraction\": 1}', schedule = 'daily 03:00'
         WHERE name = 'audit-logs';
        SELECT sexton.arm('audit-logs')";
    database.client.batch_execute(fill).await.expect("the table can be filled");
    for _ in 0..3 {
        database.sexton(&["oneshot", "audit-logs"]).done();
        // As if a day had passed, in which as many rows came of age as stood there.
        let day = "UPDATE audit_log SET created_at = created_at - interval '1 day';
            UPDATE sexton.run SET report = jsonb_set(report, '{as_of}', to_jsonb((report ->> 'as_of')::timestamptz - interval '1 day'))";
        database.client.batch_execute(day).await.expect("a day can pass");
    }
    let jobs = database.sexton(&["jobs"]).done();
    assert!(jobs.contains("ELIGIBLE") && jobs.contains("never catches up"), "{jobs}");
    let show = database.sexton(&["show", "audit-logs"]).done();
    assert!(show.contains("10 a day are deleted: it will never catch up"), "{show}");
    assert!(show.contains("rows live    up to 31 d"), "{show}");
    assert!(database.sexton(&["why", "audit-logs"]).done().contains("It will never catch up"));
    let doctor = database.sexton(&["doctor"]).stdout;
    assert!(doctor.contains("will never catch up: audit-logs ("), "{doctor}");
    let plan = database.sexton(&["plan", "audit-logs"]).done();
    assert!(plan.contains("estimate  10 rows in each of ") && plan.contains("(by 3 earlier runs;"), "{plan}");
    assert!(plan.contains("rows live up to 31 d"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn oneshot_runs_what_is_named_and_tells_a_refusal_by_its_code() {
    let database = Database::with_jobs().await;
    database.fill().await;
    database.sexton(&["arm", "audit-logs"]).done();
    let refused = database.sexton(&["oneshot", "audit-logs"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stdout.contains("audit-logs refused: "), "{refused:?}");
    assert_eq!(database.rows().await, 4);
    database.sexton(&["arm", "audit-logs", "--approve", "3"]).done();
    let done = database.sexton(&["oneshot", "audit-logs", "--json"]).json();
    assert_eq!((&done["runs"][0]["state"], &done["runs"][0]["rows_done"]), (&"succeeded".into(), &3.into()));
    assert_eq!(database.rows().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn oneshot_without_names_runs_what_is_due() {
    let database = Database::with_jobs().await;
    database.sexton(&["run-now", "sessions"]).done();
    let done = database.sexton(&["oneshot", "--json"]).json();
    assert_eq!(done["runs"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(
        (&done["runs"][0]["job"], &done["runs"][0]["state"]),
        (&"sessions".into(), &"succeeded".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn oneshot_gives_up_what_nobody_can_start() {
    let database = Database::with_jobs().await;
    database.sexton(&["arm", "audit-logs"]).done();
    database.sexton(&["pause-all", "--reason", "a restore"]).done();
    let ended = database.sexton(&["oneshot", "audit-logs"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("audit-logs did not run. Everything destructive was halted"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_oneshot_that_is_ended_says_what_goes_on_without_it() {
    let database = Database::with_jobs().await;
    database.fill().await;
    let rest = "UPDATE sexton.job SET params = params || '{\"yield_when\": \"true\", \"max_fraction\": 1}' WHERE name = 'audit-logs'";
    database.client.batch_execute(rest).await.expect("the job can be edited");
    database.sexton(&["arm", "audit-logs"]).done();
    let oneshot = Command::new(assert_cmd::cargo::cargo_bin!("sexton"))
        .args(["--database", &database.dsn, "oneshot", "audit-logs"])
        .env_remove("SEXTON_LOG")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    database.until("SELECT EXISTS (SELECT FROM sexton.run WHERE state = 'running')").await;
    let process = nix::unistd::Pid::from_raw(oneshot.id().try_into().expect("a process id"));
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).expect("it can be signalled");
    let ended = oneshot.wait_with_output().expect("it ends");
    let told = String::from_utf8(ended.stdout).expect("it writes UTF-8");
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("audit-logs released: its replica shut down"), "{told}");
    assert!(told.contains("audit-logs goes on at its cursor"), "{told}");
    database
        .until("SELECT due_at <= now() AND state = 'idle' FROM sexton.job WHERE name = 'audit-logs'")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_runs_rereads_its_file_and_drains() {
    let database = Database::with_jobs().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (local, log) = (folder.path().join("local.toml"), folder.path().join("log"));
    let settings = "[replica]\nname = \"blue\"\nslots = 1\n";
    std::fs::write(&local, settings).expect("it can be written");
    let stderr = std::fs::File::create(&log).expect("a log");
    let mut replica = Command::new(assert_cmd::cargo::cargo_bin!("sexton"))
        .args(["--database", &database.dsn, "--log-format", "json", "run", "--config"])
        .arg(&local)
        .env_remove("SEXTON_LOG")
        .env_remove("RUST_LOG")
        .stderr(stderr)
        .spawn()
        .expect("it starts");
    let process = nix::unistd::Pid::from_raw(replica.id().try_into().expect("a process id"));
    let signal = |signal| nix::sys::signal::kill(process, signal).expect("it can be signalled");
    database.until("SELECT bool_and(alive AND name = 'blue' AND slots = 1) FROM sexton.replicas").await;
    database.sexton(&["run-now", "sessions"]).done();
    database.until("SELECT bool_or(state = 'succeeded' AND holder = 'blue') FROM sexton.runs").await;
    let logged = || std::fs::read_to_string(&log).expect("the log can be read");
    let job = "INSERT INTO sexton.job (name, kind, params) VALUES ('call', 'http',
                 '{\"url\": \"https://a.example.com\", \"auth\": {\"bearer\": \"secret:crm\"}}')";
    database.client.batch_execute(job).await.expect("a job can be inserted");
    database
        .until("SELECT needs = '{host:a.example.com,secret:crm}' FROM sexton.job WHERE name = 'call'")
        .await;
    let why = database.sexton(&["why", "call"]);
    assert!(why.stdout.contains("knows host:a.example.com, secret:crm"), "{why:?}");
    let doctor = database.sexton(&["doctor"]);
    assert!(doctor.stdout.contains("no replica that is alive knows what these name: call"), "{doctor:?}");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "canary-4711\n").expect("it can be written");
    let known = format!(
        "{settings}[http]\nhosts = [\"*.example.com\"]\n[secrets.crm]\nfile = \"{}\"\n",
        secret.display()
    );
    std::fs::write(&local, known).expect("it can be written");
    signal(nix::sys::signal::Signal::SIGHUP);
    while !logged().contains("replica.reloaded") {
        assert!(replica.try_wait().expect("it can be asked").is_none(), "{}", logged());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    database.until("SELECT knows = '{host:*.example.com,secret:crm}' FROM sexton.replicas").await;
    assert!(database.sexton(&["why", "call"]).stdout.starts_with("Nothing is due"));
    assert!(!logged().contains("canary"), "{}", logged());
    signal(nix::sys::signal::Signal::SIGTERM);
    assert!(replica.wait().expect("it ends").success(), "{}", logged());
    let events: Vec<Value> =
        logged().lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    let named = |name: &str| events.iter().any(|event| event["message"] == name);
    assert!(named("replica.started") && named("run.finished") && named("replica.stopped"), "{events:?}");
    database.until("SELECT NOT bool_or(alive) FROM sexton.replicas").await;
}

/// Functions that other functions and views are made of, or statements that are put together.
const HELPERS: &[&str] = &[
    "actor",
    "note_changes",
    "note_owner",
    "wake",
    "lock_holder",
    "stop_reason",
    "holds_on",
    "worker_backends",
    "channel_fault",
    "events_fault",
    "notices_fault",
    "deliveries_next",
    "is_reached",
];

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_the_schema_are_verbs_or_the_protocol() {
    let database = Database::with_jobs().await;
    let sql = "SELECT p.proname::text, p.prorettype = 'trigger'::regtype OR d.description LIKE '%Internal%'
                 FROM pg_proc p LEFT JOIN pg_description d ON d.objoid = p.oid WHERE p.pronamespace = 'sexton'::regnamespace";
    let rows = database.client.query(sql, &[]).await.expect("functions can be listed");
    let known: BTreeSet<&str> = verbs::ALL
        .iter()
        .map(|verb| verb.function)
        .chain(verbs::SQL_ONLY.iter().map(|(function, _)| *function))
        .filter(|function| !function.is_empty())
        .collect();
    let present: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for function in &known {
        assert!(present.contains(*function), "{function} is a verb and no function");
    }
    for row in rows.iter().filter(|row| !row.get::<_, Option<bool>>(1).unwrap_or(false)) {
        let function: &str = row.get(0);
        let sent = statements::ALL.iter().any(|(_, sql)| sql.contains(&format!("sexton.{function}(")));
        assert!(
            known.contains(function) || sent || HELPERS.contains(&function),
            "{function} is no verb, and nobody calls it"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_listed_and_a_channel_that_is_off_is_told_of_and_switched_on() {
    let database = Database::with_jobs().await;
    assert!(database.sexton(&["notices"]).done().starts_with("There are none."));
    let script = "SELECT sexton.subscribe('mail:ops@example.org');
         SELECT sexton.put_notice('failed', j, NULL, '{\"error\": \"by hand\"}') FROM sexton.job j WHERE name = 'sessions';
         SELECT sexton.put_notice('changed', j, NULL, '{}') FROM sexton.job j WHERE name = 'audit-logs'";
    database.client.batch_execute(script).await.expect("notices can be written");
    let listed = database.sexton(&["notices", "--json"]).json();
    let states: Vec<_> =
        listed.as_array().expect("a list").iter().map(|row| (&row["event"], &row["state"])).collect();
    assert_eq!(serde_json::json!(states), serde_json::json!([["changed", "nobody"], ["failed", "waiting"]]));
    let text = database.sexton(&["notices", "--job", "sessions"]).done();
    assert!(
        text.contains("mail:ops@example.org") && text.contains("waiting") && !text.contains("audit-logs"),
        "{text}"
    );
    assert!(database.sexton(&["notices", "--failed"]).done().starts_with("There are none."));

    let off = "INSERT INTO sexton.channel (name, failures, error, off_at) VALUES ('mail:ops@example.org', 10, 'no route', now())";
    database.client.batch_execute(off).await.expect("it can be written");
    let told = database.sexton(&["doctor"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stdout.contains("switched off after 10 failures: no route; 1 notice(s) wait"), "{told:?}");
    let channels = database.sexton(&["notices", "channels"]).done();
    assert!(channels.contains("off") && channels.contains("no route"), "{channels}");
    let on = database.sexton(&["notices", "on", "mail:ops@example.org"]).done();
    assert_eq!(on.trim_end(), "mail:ops@example.org is on; 1 notice(s) of the last day wait for it.");

    database.sexton(&["notices", "test", "sms:1"]).failed(2, "\"sms:1\" is no channel");
    let unset = database.sexton(&["notices", "test", "mail:ops@example.org"]);
    assert_ne!(unset.code, 0);
    assert!(
        unset.stderr.contains("this replica knows no mail server") && unset.stderr.contains("[mail]"),
        "{unset:?}"
    );
}
