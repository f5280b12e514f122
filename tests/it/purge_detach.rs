//! Partitions that are detached concurrently: interrupted at each step, held, and without keeping readers waiting.

use serde_json::{Value, json};
use sexton::testing::Ran;

use crate::purge_support::{World, detail};

/// Ten rows a day of January and February 2026: `p1` and `p2` by half months, `p3` all of February.
const TABLE: &str = "CREATE TABLE p (at timestamptz NOT NULL, n int NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-01-16 00:00+00');
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2026-01-16 00:00+00') TO ('2026-02-01 00:00+00');
    CREATE TABLE p3 PARTITION OF p FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-03-01 00:00+00');
    CREATE INDEX ON p (at);
    INSERT INTO p SELECT timestamptz '2026-01-01 00:00+00' + i * interval '2.4 hours', i FROM generate_series(0, 589) i;
    ANALYZE p1; ANALYZE p2; ANALYZE p3;";

/// The cutoff is the 10th of February: 400 rows are old, 150 of `p1`, 160 of `p2` and 90 of `p3`.
const NOW: &str = "2026-02-11T00:00:00Z";

async fn job(world: &World, more: Value) {
    let mut params = json!({"table": "p", "by": "at", "retention": "1 day", "max_fraction": 1, "pacing": "full",
        "walk": "partition", "detach": "concurrently"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.job(params).await;
}

async fn run(world: &World) -> Ran {
    world.occurrence().now(NOW.parse().unwrap()).run().await.unwrap()
}

#[track_caller]
fn succeeded(ran: &Ran, rows: i64) {
    assert_eq!(
        (ran.state.as_str(), ran.rows, ran.error.as_deref()),
        ("succeeded", rows, None),
        "{:?}",
        ran.report
    );
}

/// The tables that there are, those that are no partitions marked, and those that are pending.
async fn tables(world: &World) -> String {
    let sql = "SELECT string_agg(c.relname || CASE WHEN i.inhdetachpending THEN ' (pending)'
                                                   WHEN i.inhparent IS NULL THEN ' (alone)' ELSE '' END, ', ' ORDER BY c.relname)
                 FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
                WHERE c.relname ~ '^p[0-9]$' AND c.relkind = 'r'";
    world.0.get::<Option<String>>(sql, &[]).await.unwrap_or_default()
}

/// Loses a run that has detached `p1` and was about to drop it: its batches are the cutoff's and the mark's.
async fn lost_before_the_drop(world: &World) {
    let lost = world.occurrence().now(NOW.parse().unwrap()).kill_after_batches(2).run().await.unwrap();
    assert_eq!(lost.state, "running");
    assert_eq!(tables(world).await, "p1 (alone), p2, p3");
}

#[tokio::test]
async fn they_go_and_the_other_old_rows_after_them() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    let ran = run(&world).await;
    succeeded(&ran, 400);
    assert_eq!(tables(&world).await, "p3");
    assert_eq!(world.number("SELECT min(n)::bigint FROM p").await, 400);
    assert_eq!(
        (detail(&ran, "/detach"), detail(&ran, "/partitions/1/name")),
        (&json!("concurrently"), &json!("public.p2"))
    );
}

#[tokio::test]
async fn no_reader_waits_while_it_waits_for_one() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    let reader = world.0.session().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").await.unwrap();
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let purge = tokio::spawn(async move { occurrence.run().await.unwrap() });
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid')";
    world.0.until("it waits for the reader", waits, &[]).await;
    // Long enough that a reader would be seen to queue; it does not.
    world.0.execute("SET statement_timeout = '5s'; SELECT count(*) FROM p; RESET statement_timeout").await;
    let queued =
        world.number("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'").await;
    assert_eq!((queued, purge.is_finished()), (0, false));
    reader.batch_execute("COMMIT").await.unwrap();
    succeeded(&purge.await.unwrap(), 400);
}

#[tokio::test]
async fn a_detach_that_was_cancelled_is_finalised_by_the_next_run() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    let reader = world.0.session().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").await.unwrap();
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let purge = tokio::spawn(async move { occurrence.run().await.unwrap() });
    let pending = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)";
    world.0.until("the detach is under way", pending, &[]).await;
    world.0.verb("cancel", "j").await;
    assert_eq!(purge.await.unwrap().state, "cancelled");
    assert_eq!(tables(&world).await, "p1 (pending), p2, p3");
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM p1").await, 150, "nothing was destroyed");
    // Another occurrence, with a cursor of its own.
    let ran = run(&world).await;
    succeeded(&ran, 400);
    assert_eq!((ran.attempt, tables(&world).await.as_str()), (1, "p3"));
    assert_eq!(detail(&ran, "/partitions/0/name"), "public.p1");
}

#[tokio::test]
async fn one_that_a_lost_run_detached_is_dropped_by_the_next() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    lost_before_the_drop(&world).await;
    let ran = run(&world).await;
    succeeded(&ran, 400);
    assert_eq!((ran.attempt, tables(&world).await.as_str()), (2, "p3"));
    succeeded(&run(&world).await, 0);
}

#[tokio::test]
async fn a_hold_keeps_what_is_detached_already() {
    for held in ["p", "p1"] {
        let world = World::new(TABLE).await;
        job(&world, json!({})).await;
        lost_before_the_drop(&world).await;
        world.0.execute(&format!("SELECT sexton.hold('{held}', 'n = 7', 'a case')")).await;
        let ran = run(&world).await;
        if held == "p" {
            assert_eq!((ran.state.as_str(), ran.rows), ("refused", 0), "{:?}", ran.report);
            assert!(ran.error.unwrap_or_default().contains("a hold may spare rows"));
        } else {
            succeeded(&ran, 250);
            let kept = detail(&ran, "/partitions_kept/0");
            assert_eq!(
                (&kept["name"], &kept["why"]),
                (&json!("public.p1"), &json!("an earlier run detached it, and a hold keeps its rows"))
            );
        }
        assert_eq!(world.number("SELECT count(*) FROM p1").await, 150, "{held}");
        world.0.execute("SELECT sexton.unhold(1)").await;
        let ran = run(&world).await;
        succeeded(&ran, if held == "p" { 400 } else { 150 });
        assert_eq!(tables(&world).await, "p3");
    }
}

#[tokio::test]
async fn a_hold_that_comes_between_detach_and_drop_is_a_barrier() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    let reader = world.0.session().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").await.unwrap();
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let purge = tokio::spawn(async move { occurrence.run().await.unwrap() });
    world
        .0
        .until(
            "the detach is under way",
            "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)",
            &[],
        )
        .await;
    world.0.execute("SELECT sexton.hold('p', 'n = 7', 'a case')").await;
    reader.batch_execute("COMMIT").await.unwrap();
    let ran = purge.await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("released", 0), "{:?}", ran.report);
    assert_eq!(world.number("SELECT count(*) FROM p1").await, 150);
}

#[tokio::test]
async fn one_that_is_no_longer_old_stays_and_is_named() {
    let world = World::new(TABLE).await;
    job(&world, json!({})).await;
    lost_before_the_drop(&world).await;
    job(&world, json!({"retention": "40 days"})).await;
    assert_eq!(run(&world).await.state, "lost", "the old revision's run is settled first");
    let ran = run(&world).await;
    succeeded(&ran, 0);
    let why = detail(&ran, "/partitions_kept/0/why").as_str().unwrap_or_default();
    assert!(why.contains("no longer old as a whole: attach it to public.p again"), "{:?}", ran.report);
    assert_eq!(tables(&world).await, "p1 (alone), p2, p3");
}

#[tokio::test]
async fn they_may_move_to_a_schema() {
    let world = World::new(&format!("{TABLE} CREATE SCHEMA old")).await;
    job(&world, json!({"archive_schema": "old"})).await;
    succeeded(&run(&world).await, 310);
    assert_eq!(
        world.number("SELECT (SELECT count(*) FROM old.p1) + (SELECT count(*) FROM old.p2)").await,
        310
    );
    succeeded(&run(&world).await, 0);
    assert_eq!(world.number("SELECT count(*) FROM old.p1").await, 150);
}

#[tokio::test]
async fn it_is_refused_with_a_default_partition() {
    let world = World::new(&format!("{TABLE} CREATE TABLE other PARTITION OF p DEFAULT")).await;
    job(&world, json!({})).await;
    let refusal = world.refused().await;
    assert!(
        refusal.contains("has a default partition") && refusal.contains("set detach = \"plain\""),
        "{refusal}"
    );
    assert_eq!(tables(&world).await, "p1, p2, p3");
}
