//! The kind `upkeep`: it does what needs doing, waits for nobody it should not wait for, and cleans up after itself.

use serde_json::{Value, json};
use sexton::{kind::Options, testing::Ran};
use tokio_postgres::Client;

use super::support::{detail, error};
use crate::support::{Db, own_server_with};

/// Three tables that no autovacuum touches: `dirty` has 9,000 dead rows of 10,000, `clean` has none, `"Odd one"` is small.
async fn tables() -> Db {
    let db = Db::new().await;
    // What other tests' kind writes to is no part of this application.
    db.execute("DROP TABLE ledger, gate").await;
    for (name, rows) in [("dirty", 10_000), ("clean", 2_000), ("\"Odd one\"", 10)] {
        db.execute(&format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off);
             INSERT INTO {name} SELECT i, 'note ' || i FROM generate_series(1, {rows}) i"
        ))
        .await;
    }
    db.execute("DELETE FROM dirty WHERE id % 10 <> 0").await;
    db.until("the statistics know", "SELECT pg_stat_get_dead_tuples('dirty'::regclass) = 9000", &[]).await;
    db
}

/// The steps that were done.
fn steps(ran: &Ran) -> Vec<&str> {
    let done = detail(ran, "done").as_array().unwrap();
    done.iter().map(|told| told["step"].as_str().unwrap()).collect()
}

/// Why a step was passed over.
fn skipped<'a>(ran: &'a Ran, step: &str) -> &'a str {
    let skipped = detail(ran, "skipped").as_array().unwrap();
    let found = skipped.iter().find(|skip| skip["step"] == step);
    found.unwrap_or_else(|| panic!("{step} was not passed over: {ran:?}"))["why"].as_str().unwrap()
}

/// A session with a transaction that has seen `dirty`: CONCURRENTLY statements wait for it.
async fn reader(db: &Db) -> Client {
    let reader = db.session().await;
    reader.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM dirty").await.unwrap();
    reader
}

const INDEXES: &str = "SELECT coalesce(string_agg(c.relname || CASE WHEN i.indisvalid THEN '' ELSE '!' END, ' ' ORDER BY c.relname), '')
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'dirty'::regclass";

#[tokio::test]
async fn named_tables_are_vacuumed_and_analyzed() {
    let db = tables().await;
    db.insert_manual("named", "upkeep", json!({"tables": ["dirty", "public.\"Odd one\""]})).await;
    let ran = db.run("named").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert_eq!(steps(&ran), ["VACUUM (ANALYZE) public.\"Odd one\"", "VACUUM (ANALYZE) public.dirty"]);
    let told = &detail(&ran, "done")[1];
    assert_eq!((&told["before"]["dead"], &told["after"]["dead"]), (&json!(9000), &json!(0)), "{told}");
    assert!(told["before"]["bytes"].as_i64() > Some(400_000) && told["after"]["bytes"].is_i64(), "{told}");
    let estimated: f32 = db.get("SELECT reltuples FROM pg_class WHERE relname = 'dirty'", &[]).await;
    assert!((estimated - 1000.0).abs() < f32::EPSILON, "{estimated}");
}

#[tokio::test]
async fn only_what_needs_it_is_picked() {
    let db = tables().await;
    db.insert_manual("needed", "upkeep", json!({"dead_rows": 1000})).await;
    let options = Options { dry_run: Some(true), ..Default::default() };
    let dry = db.occurrence("needed").options(options).run().await.unwrap();
    assert_eq!(detail(&dry, "would"), &json!(["VACUUM (ANALYZE) public.dirty"]));
    assert_eq!(steps(&db.run("needed").await), ["VACUUM (ANALYZE) public.dirty"]);
    assert!(steps(&db.run("needed").await).is_empty(), "nothing is dirty any more");

    db.insert_manual("late", "upkeep", json!({"vacuumed_before": "7 days", "actions": ["vacuum"]})).await;
    assert_eq!(steps(&db.run("late").await), ["VACUUM public.\"Odd one\"", "VACUUM public.clean"]);
    let in_a_month = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30);
    assert_eq!(steps(&db.occurrence("late").now(in_a_month).run().await.unwrap()).len(), 3);
}

#[tokio::test]
async fn bloated_indexes_are_rebuilt() {
    let db = tables().await;
    db.execute("VACUUM (ANALYZE) dirty").await;
    db.execute("VACUUM (ANALYZE) clean").await;
    db.insert_manual("bloat", "upkeep", json!({"actions": ["reindex"], "index_bytes": 0})).await;
    let ran = db.run("bloat").await;
    assert_eq!(steps(&ran), ["REINDEX INDEX CONCURRENTLY public.dirty_pkey"], "{ran:?}");
    let told = &detail(&ran, "done")[0];
    assert!(
        told["after"]["bytes"].as_i64().unwrap() * 2 < told["before"]["bytes"].as_i64().unwrap(),
        "{told}"
    );
    assert!(steps(&db.run("bloat").await).is_empty(), "its estimate is right again");
}

#[tokio::test]
async fn partitions_are_vacuumed_and_their_parent_analyzed() {
    let db = Db::new().await;
    db.execute(
        "CREATE TABLE log (at date) PARTITION BY RANGE (at); CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    )
    .await;
    db.insert_manual("log", "upkeep", json!({"tables": ["log"]})).await;
    let expected = ["ANALYZE public.log", "VACUUM (ANALYZE) public.log_1", "VACUUM (ANALYZE) public.log_2"];
    assert_eq!(steps(&db.run("log").await), expected);
}

#[tokio::test]
async fn an_index_is_built_once_and_a_failed_one_again() {
    let db = tables().await;
    let index = json!({"table": "dirty", "name": "dirty note", "on": "(note) WHERE id > 0", "unique": true});
    db.insert_manual("index", "upkeep", json!({"create_indexes": [index]})).await;
    db.execute("INSERT INTO dirty VALUES (-1, 'x'), (20000, 'twice'), (20001, 'twice')").await;
    let ran = db.run("index").await;
    assert_eq!(ran.state, "failed");
    assert!(
        error(&ran).contains("CREATE INDEX CONCURRENTLY public.\"dirty note\"")
            && error(&ran).contains("twice"),
        "{ran:?}"
    );
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "dirty note! dirty_pkey");
    db.execute("DELETE FROM dirty WHERE id = 20001").await;
    let ran = db.run("index").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert_eq!(steps(&ran).len(), 2, "the invalid one is dropped first: {ran:?}");
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "dirty note dirty_pkey");
    assert!(steps(&db.run("index").await).is_empty());
}

#[tokio::test]
async fn debris_of_a_failed_reindex_is_dropped() {
    let db = tables().await;
    let reader = reader(&db).await;
    let session = db.session().await;
    session.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
    session
        .batch_execute("REINDEX INDEX CONCURRENTLY dirty_pkey")
        .await
        .expect_err("the reader is in the way");
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "dirty_pkey dirty_pkey_ccnew!");
    reader.batch_execute("ROLLBACK").await.unwrap();
    db.execute("CREATE INDEX keep_ccnew ON dirty (note)").await;
    db.insert_manual("debris", "upkeep", json!({"tables": ["dirty"], "actions": ["analyze"]})).await;
    let expected = ["DROP INDEX CONCURRENTLY IF EXISTS public.dirty_pkey_ccnew", "ANALYZE public.dirty"];
    assert_eq!(steps(&db.run("debris").await), expected);
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "dirty_pkey keep_ccnew");
}

#[tokio::test]
async fn a_cancel_ends_a_wait_without_limit_and_the_next_run_mends_what_it_left() {
    let db = tables().await;
    let index = json!({"table": "dirty", "name": "by_note", "on": "(note)"});
    db.insert_manual("index", "upkeep", json!({"create_indexes": [index]})).await;
    let reader = reader(&db).await;
    let run = tokio::spawn(db.occurrence("index").run());
    db.until(
        "it waits for the reader",
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
              AND query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event = 'virtualxid')",
        &[],
    )
    .await;
    db.execute("SELECT sexton.cancel('index')").await;
    let ran = run.await.unwrap().unwrap();
    assert_eq!(ran.state, "cancelled", "{ran:?}");
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "by_note! dirty_pkey");
    reader.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(db.run("index").await.state, "succeeded");
    assert_eq!(db.get::<String>(INDEXES, &[]).await, "by_note dirty_pkey");
}

#[tokio::test]
async fn a_takeover_goes_on_with_the_next_step() {
    let db = tables().await;
    db.insert_manual("named", "upkeep", json!({"tables": ["clean", "dirty"], "actions": ["vacuum"]})).await;
    let lost = db.occurrence("named").kill_after_batches(1).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.batches), ("running", 1));
    let ran = db.run("named").await;
    assert_eq!((ran.state.as_str(), ran.attempt, steps(&ran).len()), ("succeeded", 2, 2), "{ran:?}");
    let counts = "SELECT pg_stat_get_vacuum_count('clean'::regclass) = 1 AND pg_stat_get_vacuum_count('dirty'::regclass) >= 1";
    assert!(db.get::<bool>(counts, &[]).await, "the first is not done again");
}

#[tokio::test]
async fn a_table_that_somebody_has_locked_is_passed_over() {
    let db = tables().await;
    let mut other = db.session().await;
    let transaction = other.transaction().await.unwrap();
    transaction.execute("LOCK TABLE clean IN SHARE MODE", &[]).await.unwrap();
    db.insert_manual("named", "upkeep", json!({"tables": ["clean", "dirty"]})).await;
    let ran = db.run("named").await;
    assert!(skipped(&ran, "VACUUM (ANALYZE) public.clean").contains("lock"), "{ran:?}");
    assert_eq!(steps(&ran), ["VACUUM (ANALYZE) public.dirty"]);
}

#[tokio::test]
async fn an_autovacuum_is_left_to_its_work() {
    let server = own_server_with(&[("autovacuum_naptime", "1s")]).await;
    let db = Db::on(&server).await;
    db.execute(
        "CREATE TABLE busy (id int) WITH (autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
           autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
         INSERT INTO busy SELECT generate_series(1, 50000); DELETE FROM busy WHERE id % 2 = 0",
    )
    .await;
    let at_work = "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'busy'::regclass)";
    db.until("an autovacuum begins", at_work, &[]).await;
    let index = json!({"table": "busy", "name": "busy_id", "on": "(id)"});
    db.insert_manual("busy", "upkeep", json!({"tables": ["busy"], "create_indexes": [index]})).await;
    let ran = db.run("busy").await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert!(skipped(&ran, "VACUUM (ANALYZE) public.busy").contains("autovacuum"));
    assert!(skipped(&ran, "CREATE INDEX CONCURRENTLY public.busy_id").contains("autovacuum"));
    assert!(db.get::<bool>(at_work, &[]).await, "it was pushed aside");
}

#[tokio::test]
async fn views_are_refreshed_and_what_is_in_the_way_is_named() {
    let db = tables().await;
    db.execute(
        "CREATE MATERIALIZED VIEW counts AS SELECT id % 10 AS k, count(*) AS n FROM dirty GROUP BY 1;
         CREATE MATERIALIZED VIEW never AS SELECT 1 AS k WITH NO DATA; INSERT INTO dirty VALUES (3, 'new')",
    )
    .await;
    db.insert_manual("view", "upkeep", json!({"refresh": ["counts"]})).await;
    let ran = db.run("view").await;
    assert!(
        ran.state == "refused" && error(&ran).contains("CREATE UNIQUE INDEX ON public.counts"),
        "{ran:?}"
    );
    db.execute("CREATE UNIQUE INDEX ON counts (k)").await;
    let ran = db.run("view").await;
    assert_eq!(steps(&ran), ["REFRESH MATERIALIZED VIEW CONCURRENTLY public.counts"], "{ran:?}");
    assert_eq!(db.get::<i64>("SELECT count(*) FROM counts", &[]).await, 2);

    for (name, params, part) in [
        ("never", json!({"refresh": ["never"]}), "REFRESH MATERIALIZED VIEW public.never;"),
        ("table", json!({"refresh": ["dirty"]}), "no materialized view"),
        ("gone", json!({"refresh": ["gone"]}), "params.refresh: there is no materialized view \"gone\""),
        ("typo", json!({"tables": ["drity"]}), "params.tables: there is no table \"drity\""),
        (
            "taken",
            json!({"create_indexes": [{"table": "dirty", "name": "clean", "on": "(id)"}]}),
            "name of something else",
        ),
        (
            "two",
            json!({"create_indexes": [{"table": "dirty", "name": "i", "on": "(id); DROP TABLE dirty"}]}),
            "multiple commands",
        ),
    ] {
        db.insert_manual(name, "upkeep", params).await;
        let ran = db.run(name).await;
        assert!(
            ["refused", "failed"].contains(&ran.state.as_str()) && error(&ran).contains(part),
            "{name}: {ran:?}"
        );
    }
}

#[tokio::test]
async fn what_belongs_to_others_is_theirs() {
    let db = tables().await;
    db.execute(
        "CREATE ROLE upkeep_owner; CREATE ROLE upkeep_replica LOGIN IN ROLE sexton_runner; ALTER TABLE dirty OWNER TO upkeep_owner;
         GRANT EXECUTE ON FUNCTION sexton.run_now(text, jsonb, jsonb) TO upkeep_replica",
    )
    .await;
    let run = async |job: &str| db.occurrence_as(job, "upkeep_replica").run().await.unwrap();
    let all: Value = json!({"vacuumed_before": "1 day", "actions": ["vacuum"]});
    db.insert_manual("all", "upkeep", all).await;
    db.insert_manual("named", "upkeep", json!({"tables": ["dirty"]})).await;
    let ran = run("named").await;
    assert!(
        ran.state == "refused" && error(&ran).contains("GRANT \"upkeep_owner\" TO \"upkeep_replica\";"),
        "{ran:?}"
    );
    assert!(steps(&run("all").await).is_empty());
    db.execute("GRANT upkeep_owner TO upkeep_replica").await;
    assert_eq!(steps(&run("all").await), ["VACUUM public.dirty"]);
    assert_eq!(run("named").await.state, "succeeded");
}
