//! What `sexton apply` does to the table, and what it leaves alone.

use sexton::{
    Error, ErrorKind,
    edge::{
        apply::{self, Arming, Change, Failure, Options, Outcome, Overwrite, Prune},
        config,
    },
};

use super::support::{Database, migrated, read};

const FILE: &str = r#"
app = "shop"
generation = 5

[jobs.audit-logs]
schedule = "daily 03:00 Europe/Paris"
timeout = "90 minutes"
armed = true

[jobs.audit-logs.purge]
table = "audit_log"
by = "created_at"
retention = "30 days"

[jobs.sessions]
schedule = "every 45m"

[jobs.sessions.purge]
table = "sessions"
"#;

async fn apply(database: &Database, text: &str) -> Outcome {
    with(database, text, Options::default()).await.unwrap_or_else(|failure| panic!("{failure}"))
}

async fn with(database: &Database, text: &str, options: Options) -> Result<Outcome, Failure> {
    let config = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    apply::execute(&database.connector, &config, &options).await
}

async fn refused(database: &Database, text: &str) -> String {
    with(database, text, Options::default()).await.expect_err("it is refused").to_string()
}

fn changes(outcome: &Outcome) -> Vec<(&str, &Change)> {
    outcome.jobs.iter().map(|job| (job.name.as_str(), &job.change)).collect()
}

fn without_sessions() -> String {
    FILE.split("[jobs.sessions]").next().expect("it begins so").to_owned()
}

#[tokio::test]
async fn the_first_time_creates_and_the_second_changes_nothing() {
    let database = migrated().await;
    let first = apply(&database, FILE).await;
    assert_eq!(changes(&first), [("audit-logs", &Change::Created), ("sessions", &Change::Created)]);
    assert_eq!(first.jobs[0].arming, Some(Arming::Armed));
    assert_eq!(database.text("SELECT timeout FROM sexton.job WHERE name = 'audit-logs'").await, "01:30:00");
    assert_eq!(
        database.text("SELECT time_zone FROM sexton.job WHERE name = 'audit-logs'").await,
        "Europe/Paris"
    );
    let rows = "SELECT string_agg(xmin::text || ctid::text, ',' ORDER BY id) FROM sexton.job";
    let before = database.text(rows).await;
    let second = apply(&database, FILE).await;
    assert_eq!(changes(&second), [("audit-logs", &Change::Unchanged), ("sessions", &Change::Unchanged)]);
    assert_eq!(database.text(rows).await, before, "nothing is written where nothing is new");
    insta::assert_snapshot!(apply::render(&first), @r#"
    + audit-logs  created, armed
    + sessions    created
    shop: 2 created
    "#);
}

#[tokio::test]
async fn defaults_are_those_of_the_table() {
    let database = migrated().await;
    apply(&database, "app = \"shop\"\n[jobs.plain.purge]\ntable = \"audit_log\"\n").await;
    database.run("INSERT INTO sexton.job (name, app, kind, params) VALUES ('bare', 'shop', 'purge', '{\"table\": \"audit_log\"}')").await;
    let columns = "to_jsonb(j) - '{id,name,lock_id,worker_lock_id,applied,created_at,edited_at}'::text[]";
    let of = |name: &str| format!("SELECT {columns} FROM sexton.job j WHERE name = '{name}'");
    assert_eq!(database.text(&of("plain")).await, database.text(&of("bare")).await);
}

#[tokio::test]
async fn a_changed_file_changes_the_row_and_says_what() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let outcome =
        apply(&database, &FILE.replace("30 days", "60 days").replace("90 minutes", "2 hours")).await;
    insta::assert_snapshot!(apply::render(&outcome), @r#"
    ~ audit-logs  changed, armed
        params.retention: "30 days" → "60 days"
        timeout: 1 hour 30 minutes → 2 hours
      sessions    unchanged
    shop: 1 changed, 1 unchanged
    "#);
    assert_eq!(
        outcome.jobs[0].arming,
        Some(Arming::Armed),
        "what the file arms stays armed in its new revision"
    );
}

#[tokio::test]
async fn the_same_length_of_time_is_no_change() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let outcome = apply(&database, &FILE.replace("\"90 minutes\"", "5400")).await;
    assert_eq!(changes(&outcome)[0], ("audit-logs", &Change::Unchanged));
}

#[tokio::test]
async fn a_dry_run_shows_it_and_writes_nothing() {
    let database = migrated().await;
    let config = read(FILE).expect("it is good");
    let outcome =
        apply::plan(&database.connector, &config, &Options::default()).await.expect("it can be planned");
    assert!(!outcome.committed && outcome.jobs[0].change == Change::Created);
    assert_eq!(database.text("SELECT count(*) FROM sexton.job").await, "0");
}

#[tokio::test]
async fn an_operators_edit_is_left_alone_until_asked() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let raise =
        "UPDATE sexton.job SET params = params || '{\"retention\": \"90 days\"}' WHERE name = 'audit-logs'";
    database.run(raise).await;
    let outcome = apply(&database, &FILE.replace("generation = 5", "generation = 6")).await;
    assert_eq!(outcome.left_alone(), 1);
    let Change::LeftAlone { fields, edited_by, .. } = &outcome.jobs[0].change else { panic!("{outcome:?}") };
    assert_eq!((fields[0].path.as_str(), fields[0].old.as_str()), ("params.retention", Some("90 days")));
    assert_eq!(edited_by.as_deref(), Some("postgres"));
    let retention = "SELECT params ->> 'retention' FROM sexton.job WHERE name = 'audit-logs'";
    assert_eq!(database.text(retention).await, "90 days");
    let armed =
        "SELECT armed_revision IS NOT DISTINCT FROM revision FROM sexton.job WHERE name = 'audit-logs'";
    assert_eq!(database.text(armed).await, "false", "an edit by hand is not armed by a file that differs");
    assert_eq!(apply(&database, &FILE.replace("= 5", "= 6")).await.left_alone(), 1, "each time again");

    let options = Options { overwrite: Overwrite::HandEdits, ..Options::default() };
    let outcome = with(&database, &FILE.replace("= 5", "= 6"), options).await.expect("as asked for");
    assert!(matches!(outcome.jobs[0].change, Change::Overwritten { .. }), "{outcome:?}");
    assert_eq!(database.text(retention).await, "30 days");
}

#[tokio::test]
async fn a_file_that_follows_the_operator_adopts_the_edit() {
    let database = migrated().await;
    apply(&database, FILE).await;
    database.run("UPDATE sexton.job SET params = params || '{\"retention\": \"90 days\"}' WHERE name = 'audit-logs'").await;
    let follows = FILE.replace("30 days", "90 days");
    assert_eq!(changes(&apply(&database, &follows).await)[0].1, &Change::Unchanged);
    let on = apply(&database, &follows.replace("90 days", "120 days")).await;
    assert!(matches!(on.jobs[0].change, Change::Changed { .. }), "from now on the file leads again: {on:?}");
}

#[tokio::test]
async fn what_operators_own_stays() {
    let database = migrated().await;
    apply(&database, FILE).await;
    database.run("SELECT sexton.pause('audit-logs', 'for a while'), sexton.disarm('audit-logs')").await;
    let outcome = apply(&database, &FILE.replace("30 days", "60 days")).await;
    assert_eq!(outcome.jobs[0].arming, Some(Arming::StaysDisarmed { by: "postgres".into() }));
    let state = "SELECT concat(pause_reason, ' ', armed_revision) FROM sexton.job WHERE name = 'audit-logs'";
    assert_eq!(database.text(state).await, "for a while ");
    assert!(apply::render(&outcome).contains("not armed, since postgres disarmed it by hand"));
}

#[tokio::test]
async fn a_job_gone_from_the_file_is_paused_and_comes_back() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let outcome = apply(&database, &without_sessions()).await;
    assert_eq!(changes(&outcome)[1], ("sessions", &Change::Removed));
    let state = "SELECT concat(paused_at IS NOT NULL, removed_at IS NOT NULL, pause_reason) FROM sexton.job WHERE name = 'sessions'";
    assert_eq!(database.text(state).await, "ttgone from the file of shop");
    assert_eq!(changes(&apply(&database, &without_sessions()).await)[1].1, &Change::StillRemoved);
    let outcome = apply(&database, FILE).await;
    assert!(outcome.jobs[1].taken_back && outcome.jobs[1].change == Change::Unchanged, "{outcome:?}");
    assert_eq!(database.text(state).await, "ff");
    assert_eq!(
        changes(&apply(&database, &without_sessions()).await)[1].1,
        &Change::Removed,
        "and may go again"
    );
}

#[tokio::test]
async fn an_operators_pause_outlives_the_way_out_and_back() {
    let database = migrated().await;
    apply(&database, FILE).await;
    database.run("SELECT sexton.pause('sessions', 'mine')").await;
    apply(&database, &without_sessions()).await;
    apply(&database, FILE).await;
    assert_eq!(database.text("SELECT pause_reason FROM sexton.job WHERE name = 'sessions'").await, "mine");
}

#[tokio::test]
async fn a_removed_job_that_an_operator_resumes_stays() {
    let database = migrated().await;
    apply(&database, FILE).await;
    apply(&database, &without_sessions()).await;
    database.run("SELECT sexton.resume('sessions')").await;
    for options in [Options::default(), Options { prune: Prune::Delete, ..Options::default() }] {
        let outcome = with(&database, &without_sessions(), options).await.expect("it applies");
        assert_eq!(changes(&outcome)[1], ("sessions", &Change::Kept));
    }
}

#[tokio::test]
async fn prune_deletes_what_is_gone() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let options = Options { prune: Prune::Delete, ..Options::default() };
    let outcome = with(&database, &without_sessions(), options).await.expect("it applies");
    assert_eq!(changes(&outcome)[1], ("sessions", &Change::Deleted));
    assert_eq!(database.text("SELECT string_agg(name, ',') FROM sexton.job").await, "audit-logs");
}

#[tokio::test]
async fn jobs_made_by_hand_are_not_the_files_business() {
    let database = migrated().await;
    database.run("INSERT INTO sexton.job (name, app, kind, params) VALUES ('mine', 'shop', 'purge', '{\"table\": \"sessions\"}')").await;
    let options = Options { prune: Prune::Delete, ..Options::default() };
    let outcome = with(&database, FILE, options).await.expect("it applies");
    assert!(outcome.jobs.iter().all(|job| job.name != "mine"), "{outcome:?}");
    assert_eq!(database.text("SELECT paused_at FROM sexton.job WHERE name = 'mine'").await, "NULL");
}

#[tokio::test]
async fn two_applications_do_not_touch_each_other() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let other = "app = \"blog\"\n[jobs.posts.purge]\ntable = \"audit_log\"\n";
    let outcome = apply(&database, other).await;
    assert_eq!(changes(&outcome), [("posts", &Change::Created)]);
    assert_eq!(database.text("SELECT count(*) FROM sexton.job WHERE removed_at IS NULL").await, "3");
    insta::assert_snapshot!(refused(&database, "app = \"blog\"\n[jobs.sessions.purge]\ntable = \"sessions\"\n").await, @r#"
    error: job sessions: the name is taken by a job of the application "shop"
     --> sexton.toml:2:7
      |
    2 | [jobs.sessions.purge]
      |       ^^^^^^^^
      |
      = help: choose another name, or set `app` if this file is that application's
    "#);
}

#[tokio::test]
async fn an_older_generation_is_refused() {
    let database = migrated().await;
    apply(&database, FILE).await;
    let failure =
        with(&database, &FILE.replace("= 5", "= 4"), Options::default()).await.expect_err("it is older");
    let error = Error::from(failure);
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("generation 4 is older than 5"), "{error}");
    apply(&database, &FILE.replace("generation = 5", "")).await;
    refused(&database, &FILE.replace("= 5", "= 4")).await;
}

#[tokio::test]
async fn all_that_the_database_refuses_is_shown_in_the_file() {
    let database = migrated().await;
    let text = r#"
[jobs.a]
timeout = "1 millisecond"
[jobs.a.purge]
table = "audit_log"

[jobs.b.purge]
table = "audit_lgo"

[jobs.c]
run_as = "nobody_here"
[jobs.c.purge]
table = "sessions"

[jobs.d]
backoff = "2 hours"
[jobs.d.purge]
table = "sessions"

[jobs.e]
backoff = "2 minutes"
backoff_max = 60
max_attempts = 0
[jobs.e.purge]
table = "sessions"
"#;
    insta::assert_snapshot!(refused(&database, text).await, @r#"
    error: job a: timeout: must be at least 1 second
     --> sexton.toml:3:11
      |
    3 | timeout = "1 millisecond"
      |           ^^^^^^^^^^^^^^^

    error: job b: params.table: table "audit_lgo" does not exist
     --> sexton.toml:8:9
      |
    8 | table = "audit_lgo"
      |         ^^^^^^^^^^^
      |
      = help: Create it first, or name its schema as well: schema.table.

    error: job c: run_as: there is no role "nobody_here"
      --> sexton.toml:11:10
       |
    11 | run_as = "nobody_here"
       |          ^^^^^^^^^^^^^

    error: job d: backoff: must not be more than backoff_max, by default 1 hour
      --> sexton.toml:16:11
       |
    16 | backoff = "2 hours"
       |           ^^^^^^^^^

    error: job e: backoff_max: must not be less than backoff
      --> sexton.toml:22:15
       |
    22 | backoff_max = 60
       |               ^^
    "#);
    assert_eq!(database.text("SELECT count(*) FROM sexton.job").await, "0", "all or nothing");
}

#[tokio::test]
async fn authors_rights_are_enough_and_others_learn_which_are_missing() {
    let database = migrated().await;
    let author = database.login("sexton_author").await;
    database.run(&format!("GRANT DELETE ON audit_log, sessions TO sexton_author_{}", database.name)).await;
    let options = Options { prune: Prune::Delete, overwrite: Overwrite::HandEdits };
    for text in [FILE.to_owned(), without_sessions(), FILE.to_owned(), FILE.replace("30 days", "31 days")] {
        apply::execute(&author, &read(&text).expect("it is good"), &options)
            .await
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
    let keep = Options::default();
    for text in [without_sessions(), FILE.to_owned()] {
        apply::execute(&author, &read(&text).expect("it is good"), &keep)
            .await
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
    let viewer = database.login("sexton_viewer").await;
    let failure =
        apply::execute(&viewer, &read(FILE).expect("it is good"), &keep).await.expect_err("it may not");
    let error = Error::from(failure);
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("sexton_author")), "{error:?}");
}

#[tokio::test]
async fn an_author_without_rights_on_the_table_is_shown_the_place() {
    let database = migrated().await;
    let author = database.login("sexton_author").await;
    let config = read(FILE).expect("it is good");
    let failure =
        apply::execute(&author, &config, &Options::default()).await.expect_err("no DELETE on the tables");
    let Failure::Problems(problems) = failure else { panic!("{failure}") };
    let lines: Vec<usize> = problems
        .iter()
        .filter_map(|problem| problems.location(problem))
        .map(|location| location.line)
        .collect();
    assert_eq!(lines, [11, 19], "{}", problems.render(config::Colors::Plain));
}

#[tokio::test]
async fn many_may_apply_at_once() {
    let database = migrated().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let connector = database.connector.clone();
        tasks.spawn(async move {
            apply::execute(&connector, &read(FILE).expect("it is good"), &Options::default()).await
        });
    }
    let outcomes: Vec<Outcome> =
        tasks.join_all().await.into_iter().map(|done| done.expect("all succeed")).collect();
    let created = outcomes.iter().filter(|outcome| outcome.jobs[0].change == Change::Created).count();
    assert_eq!(created, 1);
    assert_eq!(database.text("SELECT max(revision) FROM sexton.job").await, "1");
}

#[tokio::test]
async fn a_deployment_makes_its_jobs_due_once() {
    let database = migrated().await;
    let text = "app = \"shop\"\ngeneration = 1\n[jobs.a]\nschedule = \"at deploy\"\n[jobs.a.purge]\ntable = \"sessions\"\n";
    assert!(apply(&database, text).await.jobs[0].due);
    assert!(!apply(&database, text).await.jobs[0].due);
    database.run("UPDATE sexton.job SET occurrence = NULL, due_at = NULL, origin = NULL").await;
    assert!(!apply(&database, text).await.jobs[0].due, "it is no new deployment");
    assert!(apply(&database, &text.replace("= 1", "= 2")).await.jobs[0].due);
}

#[tokio::test]
async fn without_the_schema_the_remedy_is_named() {
    let database = super::support::empty().await;
    let failure = with(&database, FILE, Options::default()).await.expect_err("nothing is there");
    let error = Error::from(failure);
    assert_eq!((error.kind(), error.remedy()), (ErrorKind::Schema, Some("run `sexton migrate`")));
}
