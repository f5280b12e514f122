//! What runs jobs: `oneshot` and `run`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Database;

#[tokio::test(flavor = "multi_thread")]
async fn oneshot_without_anything_due_ends_at_once() {
    let database = Database::with_jobs().await;
    database.client.batch_execute("DELETE FROM sexton.job").await.expect("jobs can be deleted");
    assert_eq!(database.sexton(&["oneshot"]).done(), "Nothing was due.\n");
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
