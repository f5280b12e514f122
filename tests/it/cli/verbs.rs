//! The verbs of operators, and what lists and looks: the same words as in SQL, in text and in JSON.

use serde_json::Value;

use super::Database;

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
