//! `sexton exec` and its neighbors as users start them.

use std::{
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    command::{pids, until_dead},
    support::{Db, Hand},
};

/// The program, with what it says caught.
fn sexton(db: &Db, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(["--database", &db.conninfo])
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn process(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// Waits for its end, and for that of all that it started: so long what is written is not at an end.
async fn ended(child: Child) -> (i32, String, String) {
    let wait = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Output { status, stdout, stderr } =
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap().unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

const HELD: &str = "SELECT EXISTS (SELECT FROM sexton.resources WHERE name = $1 AND NOT waits)";

#[tokio::test]
async fn it_ends_as_its_command_does_and_gives_the_locks_back() {
    let db = Db::new().await;
    let (code, stdout, _) =
        ended(sexton(&db, &["exec", "--lock", "app:1", "--", "sh", "-c", "echo hello; exit 7"])).await;
    assert_eq!((code, stdout.as_str()), (7, "hello\n"));
    let (code, ..) =
        ended(sexton(&db, &["exec", "--lock", "app:1", "--", "sh", "-c", "kill -KILL $$"])).await;
    assert_eq!(code, 128 + 9);
    let (code, _, stderr) = ended(sexton(&db, &["exec", "--lock", "app:1", "--", "/no/such/command"])).await;
    assert!(code == 127 && stderr.contains("/no/such/command cannot be started"), "{stderr}");
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.resources", &[]).await, 0);
}

#[tokio::test]
async fn it_and_jobs_exclude_each_other_and_say_so() {
    let db = Db::new().await;
    let folder = tempfile::tempdir().unwrap();
    let wait = format!("while [ ! -e {}/go ]; do sleep 0.01; done", folder.path().display());
    let first =
        sexton(&db, &["exec", "--lock", "app:1", "--lock", "backup", "--shared", "--", "sh", "-c", &wait]);
    db.until("it holds both", "SELECT count(*) = 2 FROM sexton.resources", &[]).await;
    let shares = sexton(&db, &["exec", "--lock", "backup", "--shared", "--", "true"]);
    assert_eq!(ended(shares).await.0, 0);
    let (code, _, stderr) = ended(sexton(&db, &["exec", "--lock", "backup", "--", "true"])).await;
    assert!(
        code == 3 && stderr.contains("backup is held by backend") && stderr.contains("sexton/exec/sh"),
        "{stderr}"
    );
    let (code, stdout, _) = ended(sexton(&db, &["locks", "--json"])).await;
    let locks: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &locks[0]["name"], &locks[1]["shared"]), (0, &json!("app:1"), &json!(true)));
    // A job waits for it, and says for whom.
    db.execute("INSERT INTO sexton.job (name, kind, resources) VALUES ('job', 'steps', '[\"app:1\"]')").await;
    db.planned("job").await;
    db.verb("run_now", "job").await;
    let refused = Hand::try_claim(&db, "job", sexton::kind::Nature::Database).await;
    assert!(refused.reason.contains("sexton/exec/sh"), "{}", refused.reason);
    let second = sexton(&db, &["exec", "--lock", "app:1", "--wait", "1m", "--", "echo", "mine"]);
    std::fs::write(folder.path().join("go"), "").unwrap();
    let (code, stdout, _) = ended(second).await;
    assert_eq!((code, stdout.as_str()), (0, "mine\n"));
    assert_eq!(ended(first).await.0, 0);
    Hand::claim(&db, "job").await;
}

#[tokio::test]
async fn signals_reach_the_command_and_all_that_it_started() {
    let db = Db::new().await;
    let folder = tempfile::tempdir().unwrap();
    for (signal, ends_with) in [(Signal::SIGTERM, 5), (Signal::SIGUSR1, 6), (Signal::SIGQUIT, 7)] {
        let ready = folder.path().join(signal.as_str());
        let traps = "trap 'exit 5' TERM; trap 'exit 6' USR1; trap 'exit 7' QUIT";
        let script = format!("{traps}; sleep 1000 >/dev/null 2>&1 & echo $! > {}; wait", ready.display());
        let child = sexton(&db, &["exec", "--lock", "app:1", "--", "sh", "-c", &script]);
        // Once the traps are set.
        let started = pids(&ready, 1).await;
        kill(process(&child), signal).unwrap();
        assert_eq!(ended(child).await.0, ends_with, "{signal}");
        // A shell has its background ignore some signals; what it left behind is ours no more.
        let _ = kill(Pid::from_raw(started[0].parse().unwrap()), Signal::SIGKILL);
    }
}

/// The lock is free in that moment, so nothing may go on that believes in it; not even what ignores SIGTERM.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn killed_it_takes_the_command_and_all_that_it_started_along() {
    let db = Db::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let script = format!("trap '' TERM; sleep 1000 & printf '%s\\n' $$ $! > {}; wait", ready.display());
    let child = sexton(&db, &["exec", "--lock", "app:1", "--", "sh", "-c", &script]);
    let started = pids(&ready, 2).await;
    kill(process(&child), Signal::SIGKILL).unwrap();
    for pid in &started {
        until_dead(pid).await;
    }
    assert_eq!(ended(child).await.0, -1, "by a signal");
    db.until("it is free", "SELECT count(*) = 0 FROM sexton.resources", &[]).await;
}

#[tokio::test]
async fn a_lost_session_ends_the_command_even_one_that_ignores_sigterm() {
    let db = Db::new().await;
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let child = sexton(&db, &["exec", "--lock", "app:1", "--", "sh", "-c", script]);
    db.until("it runs", HELD, &[&"app:1"]).await;
    db.execute("SELECT pg_terminate_backend(backend_pid) FROM sexton.resources").await;
    let (code, _, stderr) = ended(child).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("session that held the resources was lost"), "{stderr}");
}

#[tokio::test]
async fn a_one_off_can_be_submitted_from_the_shell() {
    let db = Db::new().await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, inputs) VALUES ('erase', 'steps', '{\"tenant\": \"bigint\"}')",
    )
    .await;
    let (code, stdout, _) =
        ended(sexton(&db, &["submit", "erase", "--input", "tenant=7", "--key", "t7", "--due-at", "2h"]))
            .await;
    assert!(code == 0 && stdout.starts_with("erase~") && stdout.contains("is submitted, due at"), "{stdout}");
    let (code, _, stderr) = ended(sexton(&db, &["submit", "erase", "--input", "tenant=seven"])).await;
    assert!(code == 2 && stderr.contains("which is no bigint"), "{stderr}");
    let (code, _, stderr) = ended(sexton(&db, &["submit", "erese"])).await;
    assert!(code == 2 && stderr.contains("Did you mean \"erase\"?"), "{stderr}");
    let stored = "SELECT inputs = '{\"tenant\": 7}' AND key = 't7' AND state = 'idle' FROM sexton.one_offs";
    assert!(db.get::<bool>(stored, &[]).await);
}

/// The library's way, in the transaction of an application.
#[tokio::test]
async fn a_one_off_is_part_of_the_applications_transaction() {
    let db = Db::new().await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, inputs) VALUES ('erase', 'steps', '{\"tenant\": \"bigint\"}')",
    )
    .await;
    let mut app = db.session().await;
    let one = sexton::OneOff::of("erase").input("tenant", 7).key("t7");
    let transaction = app.transaction().await.unwrap();
    one.submit(&transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.one_offs", &[]).await, 0);
    let transaction = app.transaction().await.unwrap();
    assert!(one.submit(&transaction).await.unwrap().starts_with("erase~"));
    transaction.commit().await.unwrap();
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.one_offs", &[]).await, 1);
    let wrong = sexton::OneOff::of("erase").input("tenent", 7).submit(&app).await.unwrap_err();
    assert_eq!(wrong.kind(), sexton::ErrorKind::Invalid);
}
