//! What every command has in common: help, exit codes, what it says where something is missing.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use sexton::{edge::cluster::Cluster, protocol::verbs, statements};

use super::{Database, sexton};

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
    // The server that the tests share listens on a socket alone.
    let cluster = Cluster::builder().without_fsync().tcp().start().await.expect("a private cluster starts");
    let right = cluster.tcp_conninfo("postgres").expect("it listens on TCP");
    let wrong = format!("{right} password=wrong");
    sexton(&["--database", &wrong, "jobs"]).failed(4, "password");
    sexton(&["--database", &format!("{} dbname=nope", cluster.conninfo("postgres")), "jobs"])
        .failed(4, "nope");
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
