//! Tests of private clusters on real ones: that they work, and above all that they end.
//!
//! They need PostgreSQL's programs, as everything here does, and fail without. What is easy to get wrong: the
//! death of an owner can only be tested on another process, so one test starts this very test binary again.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{sys::signal::kill, unistd::Pid};

use super::*;
use crate::error::ErrorKind;

/// Tells a second copy of this binary to own a cluster until it is killed: its data folder, or `throwaway`.
const OWNER: &str = "SEXTON_TEST_CLUSTER_OWNER";

async fn start() -> Cluster {
    Cluster::builder().without_fsync().start().await.unwrap()
}

async fn value(cluster: &Cluster, database: &str, query: &str) -> String {
    cluster.session(database).await.unwrap().query_one(query, &[]).await.unwrap().get(0)
}

fn alive(pid: u32) -> bool {
    kill(Pid::from_raw(pid.try_into().unwrap()), None).is_ok()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn two_at_once_are_apart_and_each_ends_with_its_owner() {
    let (one, two) = tokio::join!(start(), start());
    one.create_database("only here").await.unwrap();
    let count = "select count(*)::text from pg_database where datname = 'only here'";
    assert_eq!(value(&one, "postgres", count).await, "1");
    assert_eq!(value(&two, "postgres", count).await, "0");

    let (pid, folder) = (one.pid().unwrap(), one.folder.path().to_owned());
    drop(one);
    assert!(!alive(pid));
    assert!(!folder.exists());
    assert_eq!(value(&two, "postgres", "select 'still here'").await, "still here");
}

#[tokio::test]
async fn settings_hold_and_alter_system_has_the_last_word() {
    let mut cluster = Cluster::builder().setting("wal_level", "logical").start().await.unwrap();
    assert_eq!(value(&cluster, "postgres", "select current_setting('wal_level')").await, "logical");
    assert_eq!(value(&cluster, "postgres", "select current_setting('fsync')").await, "on");
    cluster
        .session("postgres")
        .await
        .unwrap()
        .batch_execute("alter system set wal_level = minimal")
        .await
        .unwrap();
    let extra = "alter system set max_wal_senders = 0";
    cluster.session("postgres").await.unwrap().batch_execute(extra).await.unwrap();
    cluster.restart().await.unwrap();
    assert_eq!(value(&cluster, "postgres", "select current_setting('wal_level')").await, "minimal");
}

#[tokio::test]
async fn tcp_wants_the_password() {
    let cluster = Cluster::builder().without_fsync().tcp().start().await.unwrap();
    let conninfo = cluster.tcp_conninfo("postgres").unwrap();
    let (client, connection) = tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let port: i32 = client.query_one("select inet_server_port()", &[]).await.unwrap().get(0);
    assert_eq!(port, i32::from(cluster.port));

    let wrong = conninfo.replace(&cluster.password, "guess");
    let error = tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.map(drop).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("28P01"));
    assert_eq!(start().await.tcp_conninfo("postgres"), None);
}

#[tokio::test]
async fn what_was_committed_survives_crashes_and_the_socket_stays() {
    let mut cluster = Cluster::builder().start().await.unwrap();
    cluster.create_database("base").await.unwrap();
    let session = cluster.session("base").await.unwrap();
    session
        .batch_execute("create table kept as select 'a' || n as it from generate_series(1, 9) n")
        .await
        .unwrap();
    let (before, conninfo) = (cluster.pid(), cluster.conninfo("base"));

    cluster.restart_immediate().await.unwrap();
    assert!(session.batch_execute("select 1").await.is_err());
    cluster.kill_postmaster().await;
    assert_eq!(cluster.pid(), None);
    cluster.start_again().await.unwrap();

    assert_ne!(cluster.pid(), before);
    assert_eq!(cluster.conninfo("base"), conninfo);
    assert_eq!(value(&cluster, "base", "select max(it) from kept").await, "a9");
    assert!(cluster.log_tail(1000).contains("automatic recovery in progress"), "{}", cluster.log_tail(50));
}

#[tokio::test]
async fn databases_are_copied_from_templates_and_dropped_in_use() {
    let cluster = start().await;
    cluster.create_database("model").await.unwrap();
    let session = cluster.session("model").await.unwrap();
    session.batch_execute("create table t as select 'copied' as it").await.unwrap();
    drop(session);
    wait_until_idle(&cluster, "model").await;
    cluster.create_database_from("model", r#"a "copy""#).await.unwrap();
    assert_eq!(value(&cluster, r#"a "copy""#, "select it from t").await, "copied");

    let error = cluster.create_database("model").await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("42P04"));
    let in_use = cluster.session("model").await.unwrap();
    cluster.drop_database("model").await.unwrap();
    assert!(in_use.batch_execute("select 1").await.is_err());
    cluster.drop_database("model").await.unwrap();
}

/// A session that we closed takes a moment to end at the server.
async fn wait_until_idle(cluster: &Cluster, database: &str) {
    let query = "select count(*)::text from pg_stat_activity where datname = $1";
    let session = cluster.session("postgres").await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while session.query_one(query, &[&database]).await.unwrap().get::<_, String>(0) != "0" {
        assert!(Instant::now() < deadline, "sessions on {database} do not end");
    }
}

#[tokio::test]
async fn a_frozen_postmaster_does_not_answer_and_can_still_be_stopped() {
    let mut cluster = start().await;
    let session = cluster.session("postgres").await.unwrap();
    cluster.freeze_postmaster().unwrap();
    session.batch_execute("select 1").await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(300), cluster.session("postgres")).await;
    assert!(silent.is_err(), "a frozen postmaster answered");
    cluster.thaw_postmaster().unwrap();
    cluster.session("postgres").await.unwrap();

    cluster.freeze_postmaster().unwrap();
    let pid = cluster.pid().unwrap();
    drop(cluster);
    assert!(!alive(pid));
}

#[tokio::test]
async fn a_server_that_does_not_start_is_reported_with_its_words() {
    let error = Cluster::builder().setting("no_such_setting", "1").start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Outside);
    assert!(
        error.to_string().contains(r#"unrecognized configuration parameter "no_such_setting""#),
        "{error}"
    );
    let error = Cluster::builder().pgbin("/nowhere").start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.remedy().is_some());
}

#[tokio::test]
async fn a_data_folder_keeps_its_data_and_admits_one_owner() {
    let base = enterable();
    let folder = base.path().join("a long name, with blanks").join("x".repeat(80));
    let cluster = Cluster::open_or_create(&folder).await.unwrap();
    cluster.create_database("kept").await.unwrap();

    let error = Cluster::open_or_create(&folder).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let socket = cluster.folder.path().display().to_string();
    assert!(error.remedy().unwrap().contains(&socket), "{:?}", error.remedy());
    assert_eq!(value(&cluster, "kept", "select 'unharmed'").await, "unharmed");

    drop(cluster);
    assert!(!Path::new(&socket).exists());
    let cluster = Cluster::open_or_create(&folder).await.unwrap();
    assert_eq!(value(&cluster, "kept", "select 'again'").await, "again");
    assert!(!cluster.log_tail(1000).contains("automatic recovery"), "it was not stopped in order");
}

/// A folder that every account may enter.
fn enterable() -> tempfile::TempDir {
    let account = Account::find().unwrap();
    let usual = std::env::temp_dir();
    let base = if account.may_write_in(&usual) { usual } else { PathBuf::from("/tmp") };
    let folder = tempfile::tempdir_in(base).unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

/// Starts an owner of a cluster as a process, kills it, and returns the server's process and its folder.
fn kill_an_owner(data: &str) -> (u32, PathBuf) {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "edge::cluster::tests::owner_until_killed", "--nocapture"])
        .env(OWNER, data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let told = lines.map(Result::unwrap).find_map(|line| line.strip_prefix("owner ").map(str::to_owned));
    let told = told.expect("the owner says where its cluster is");
    let (pid, folder) = told.split_once(' ').unwrap();
    let (pid, folder) = (pid.parse().unwrap(), PathBuf::from(folder));
    assert!(alive(pid) && folder.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    (pid, folder)
}

#[test]
fn sigkill_of_the_owner_ends_the_server_and_removes_the_folder() {
    let (pid, folder) = kill_an_owner("throwaway");
    wait_until("the server ends", || !alive(pid));
    wait_until("the folder goes", || !folder.exists());
}

#[tokio::test]
async fn sigkill_of_the_owner_of_a_data_folder_lets_the_next_one_open_it_at_once() {
    let base = enterable();
    let data = base.path().join("cluster");
    let (pid, folder) = kill_an_owner(data.to_str().unwrap());
    let cluster = Cluster::open_or_create(&data).await.unwrap();
    wait_until("the former server ends", || !alive(pid));
    // The former owner's watchdog is done when its folder is gone; it must not take our server for its own.
    wait_until("the folder goes", || !folder.exists());
    assert_eq!(value(&cluster, "postgres", "select 'recovered'").await, "recovered");
}

#[tokio::test]
async fn a_watchdog_leaves_the_server_of_the_next_owner_alone() {
    let base = enterable();
    let mut cluster = Cluster::open_or_create(base.path().join("cluster")).await.unwrap();
    let former = Folder::create(&cluster.account).unwrap();
    start::link_data(former.path(), &cluster.data_dir()).unwrap();
    watchdog::clean(&cluster.account, former.path()).unwrap();
    assert!(!former.path().exists());
    assert!(cluster.postmaster.as_mut().unwrap().ended().is_none());
    assert_eq!(value(&cluster, "postgres", "select 'unharmed'").await, "unharmed");
}

/// The other half of the tests above: without its variable there is no owner to play.
#[tokio::test]
async fn owner_until_killed() {
    let cluster = match std::env::var(OWNER).as_deref() {
        Err(_) => return,
        Ok("throwaway") => start().await,
        Ok(data) => Cluster::open_or_create(data).await.unwrap(),
    };
    println!("\nowner {} {}", cluster.pid().unwrap(), cluster.folder.path().display());
    std::io::stdout().flush().unwrap();
    // The parent holds the other end: this returns if it dies before it kills us.
    let _ = std::io::stdin().read_line(&mut String::new());
}
