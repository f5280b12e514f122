//! A file of jobs, from `apply` to what its purges would do.

use super::{Database, sexton};

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
