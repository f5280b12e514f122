//! What only migrations of the tests' own can show: those without a transaction, older programs, odd histories. The
//! rest is tested through the public face, in `tests/`.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use super::*;
use crate::edge::cluster::Cluster;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

async fn empty_database() -> (Connector, Client) {
    let cluster = CLUSTER
        .get_or_init(|| async { Cluster::builder().start().await.expect("a private cluster starts") })
        .await;
    let name = format!("migrate{}", NEXT.fetch_add(1, Ordering::Relaxed));
    cluster.create_database(&name).await.expect("a database can be created");
    let connector = Connector::from(cluster.config(&name));
    let client = connector.open("test", &[]).await.expect("a session can be opened").client;
    (connector, client)
}

fn with(extra: &[(&str, &str)]) -> Vec<Migration> {
    let mut all = known().expect("our own migrations can be read");
    all.extend(extra.iter().map(|(name, sql)| Migration::unapplied(name, sql).expect("a valid name")));
    all
}

async fn run_with(connector: &Connector, migrations: Vec<Migration>) -> Result<Migrated> {
    run_these(connector, &Options::default(), migrations, Box::new(|_| {})).await
}

const CONCURRENTLY: &str = "-- sexton: no-transaction\n\
    CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_x ON sexton.audit (verb);\n\
    CREATE INDEX CONCURRENTLY IF NOT EXISTS audit_y ON sexton.audit (actor);\n";

#[tokio::test]
async fn a_migration_may_do_without_transaction() {
    let (connector, client) = empty_database().await;
    let done = run_with(&connector, with(&[("V90__index", CONCURRENTLY)])).await.expect("it migrates");
    assert_eq!(done.applied.last().map(String::as_str), Some("V90__index"));
    let found = client
        .query_one(
            "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text ~ 'audit_[xy]$'",
            &[],
        )
        .await
        .expect("it can be counted");
    assert_eq!(found.get::<_, i64>(0), 2);
}

#[tokio::test]
async fn a_failing_migration_leaves_those_before_it() {
    let (connector, client) = empty_database().await;
    let broken =
        with(&[("V90__fine", "CREATE TABLE sexton.x ();"), ("V91__broken", "CREATE TABLE sexton.x ();")]);
    let error = run_with(&connector, broken).await.expect_err("x is there");
    assert!(error.to_string().contains("V91__broken"), "{error}");
    assert!(error.to_string().contains("already exists"), "{error}");
    let status = compare_level(&client).await;
    assert_eq!(status, 90);
    run_with(&connector, with(&[("V90__fine", "CREATE TABLE sexton.x ();")]))
        .await
        .expect("the lock was given back");
}

async fn compare_level(client: &Client) -> i64 {
    let row = client.query_one("SELECT max(version)::bigint FROM sexton.schema_history", &[]).await;
    row.expect("the history is there").get(0)
}

#[tokio::test]
async fn an_older_program_leaves_a_newer_schema_and_may_run() {
    let (connector, client) = empty_database().await;
    run_with(&connector, with(&[("V90__newer", "CREATE TABLE sexton.x ();")])).await.expect("it migrates");
    let level = known().expect("ours").last().map_or(0, |last| i64::from(last.version()));
    let status = check(&client).await.expect("it can be read");
    assert_eq!(status, Status::Newer { level: 90, known: level });
    status.may_run().expect("it is no breaking one");
    let done = run_with(&connector, with(&[])).await.expect("there is nothing to do");
    assert!(done.applied.is_empty() && done.notes[0].contains("newer"), "{done:?}");
}

#[tokio::test]
async fn an_older_program_is_refused_by_a_breaking_schema() {
    let (connector, client) = empty_database().await;
    let breaking = with(&[("V90__breaking", "UPDATE sexton.meta SET min_level = 90;")]);
    run_with(&connector, breaking).await.expect("it migrates");
    let status = check(&client).await.expect("it can be read");
    assert!(matches!(status, Status::TooNew { min_level: 90, level: 90, .. }), "{status:?}");
    assert_eq!(status.may_run().expect_err("it is breaking").kind(), ErrorKind::Schema);
    let error = run_with(&connector, with(&[])).await.expect_err("nor may it migrate");
    assert_eq!(error.kind(), ErrorKind::Schema);
}

#[tokio::test]
async fn a_migration_that_was_changed_is_refused() {
    let (connector, client) = empty_database().await;
    run_with(&connector, with(&[])).await.expect("it migrates");
    client
        .execute("UPDATE sexton.schema_history SET checksum = '1' WHERE version = 2", &[])
        .await
        .expect("it is ours");
    let error = check(&client).await.expect_err("V2 differs");
    assert!(error.to_string().contains("V2__"), "{error}");
    run_with(&connector, with(&[])).await.expect_err("nor does it migrate");
}

#[tokio::test]
async fn what_panics_in_refinery_is_an_error() {
    let (connector, client) = empty_database().await;
    run_with(&connector, with(&[])).await.expect("it migrates");
    client.execute("UPDATE sexton.schema_history SET applied_on = 'tuesday'", &[]).await.expect("it is ours");
    let error = run_with(&connector, with(&[])).await.expect_err("the history is odd");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("applied_on")), "{error}");
}

#[tokio::test]
async fn whoever_waits_too_long_learns_for_whom() {
    let (connector, client) = empty_database().await;
    let (connector_name, options) =
        ("somebody", Options { lock_timeout: Duration::ZERO, ..Options::default() });
    let holder = connector.open(connector_name, &[]).await.expect("a session");
    holder.client.query_one(statements::MIGRATION_LOCK, &[&LOCK_KEY]).await.expect("the lock is free");
    let error = run(&connector, &options, |_| {}).await.expect_err("the lock is held");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("application_name \"somebody\""), "{error}");
    assert_eq!(check(&client).await.expect("nothing is there"), Status::Absent);
}

#[test]
fn servers_that_will_not_do_are_refused_with_a_remedy() {
    let good = || Place { version: 150_000, lock_timeout: LOCK_TIMEOUT.to_owned(), ..Place::default() };
    suitable(&good()).expect("it will do");
    for (place, expected) in [
        (Place { standby: true, ..good() }, "a standby"),
        (Place { version: 130_011, ..good() }, "PostgreSQL 13"),
        (Place { lock_timeout: "0".to_owned(), ..good() }, "settings do not reach the server"),
    ] {
        let error = suitable(&place).expect_err("it will not do");
        assert_eq!(error.kind(), ErrorKind::Unsuitable);
        assert!(error.to_string().contains(expected) && error.remedy().is_some(), "{error}");
    }
}
