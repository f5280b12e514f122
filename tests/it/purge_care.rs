//! What comes after a purge's walk: VACUUM where it is wanted, never a failure, and what is said of the space.

use serde_json::{Value, json};
use sexton::Registry;

use crate::{
    purge_support::{World, detail},
    support::Replica,
};

/// 1,000 rows of which 500 are older than 20 days. Autovacuum would come for 250 dead ones, but is off here.
const EVENTS: &str = "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz) WITH (autovacuum_enabled = off);
    INSERT INTO events SELECT i, now() - CASE WHEN i <= 500 THEN 30 ELSE 10 END * interval '1 day' + i * interval '1 second'
      FROM generate_series(1, 1000) i;
    ANALYZE events;";

/// The same with an ANALYZE that takes for ever: the expression of an index is computed for each row then, and by no DELETE.
const SLOW_ANALYZE: &str =
    "CREATE FUNCTION slow(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
    CREATE INDEX ON events (slow(id));
    CREATE OR REPLACE FUNCTION slow(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql
      AS $$ BEGIN PERFORM pg_sleep(1); RETURN $1; END $$;";

const VACUUMED: &str =
    "SELECT coalesce((SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = $1), 0)";

fn params(more: Value) -> Value {
    let mut params =
        json!({"table": "events", "by": "at", "retention": "20 days", "max_fraction": 1, "pacing": "full"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

/// How often a table was vacuumed by hand. On PostgreSQL 14 the statistics come up to a second late.
async fn vacuums(world: &World, table: &str) -> i64 {
    if !prompt(world).await {
        world.0.execute("SELECT pg_sleep(1.1)").await;
    }
    world.0.get(VACUUMED, &[&table]).await
}

/// Whether statistics are told at once: from PostgreSQL 15 on.
async fn prompt(world: &World) -> bool {
    world.number("SELECT current_setting('server_version_num')::bigint").await >= 150_000
}

#[tokio::test]
async fn a_walk_that_deleted_much_is_followed_by_a_vacuum() {
    for pacing in ["full", "gentle"] {
        let world = World::new(EVENTS).await;
        world.job(params(json!({"pacing": pacing}))).await;
        let ran = world.succeed().await;
        assert_eq!(ran.rows, 500);
        let done = detail(&ran, "/vacuum/done/0");
        assert_eq!(done["table"], "public.events", "{:?}", ran.report);
        if prompt(&world).await {
            assert_eq!((&done["before"]["dead"], &done["after"]["dead"]), (&json!(500), &json!(0)), "{done}");
            let (before, after) = (detail(&ran, "/before/dead_tuples"), detail(&ran, "/after/dead_tuples"));
            assert_eq!((before, after), (&json!(0), &json!(0)));
        }
        assert_eq!(vacuums(&world, "events").await, 1);
        assert_eq!(detail(&ran, "/space/free_share"), 0.5);
        let ways = detail(&ran, "/space/given_back_by").to_string();
        assert!(
            ["pg_repack", "VACUUM FULL", "CLUSTER", "partitions"].iter().all(|way| ways.contains(way)),
            "{ways}"
        );
        // What is left is below the threshold, so the next run leaves the table alone.
        world.0.execute("UPDATE events SET at = at - interval '20 days' WHERE id > 900").await;
        let ran = world.succeed().await;
        assert_eq!((ran.rows, vacuums(&world, "events").await), (100, 1), "{:?}", ran.report);
        let why = detail(&ran, "/vacuum/skipped/0/why").as_str().unwrap_or_default();
        assert!(why.contains("autovacuum would come for"), "{:?}", ran.report);
    }
}

#[tokio::test]
async fn what_workers_deleted_is_vacuumed_too() {
    let world = World::new(EVENTS).await;
    world.job(params(json!({"workers": 2, "walk": "heap"}))).await;
    let ran = world.succeed().await;
    assert_eq!(
        (ran.rows, detail(&ran, "/vacuum/done/0/table")),
        (500, &json!("public.events")),
        "{:?}",
        ran.report
    );
    assert_eq!(vacuums(&world, "events").await, 1);
}

#[tokio::test]
async fn vacuum_comes_always_or_never_as_the_job_says() {
    for (vacuum, old, times) in [("never", 500, 0), ("after", 500, 1), ("after", 1, 1), ("auto", 1, 0)] {
        let world = World::new(EVENTS).await;
        world.0.execute(&format!("UPDATE events SET at = now() WHERE id > {old}")).await;
        world.0.execute("VACUUM events").await;
        world.job(params(json!({"vacuum": vacuum}))).await;
        let before = vacuums(&world, "events").await;
        let ran = world.succeed().await;
        assert_eq!(
            (ran.rows, vacuums(&world, "events").await - before),
            (old, times),
            "{vacuum}: {:?}",
            ran.report
        );
    }
}

#[tokio::test]
async fn neither_a_dry_run_nor_one_that_deleted_nothing_vacuums() {
    let world = World::new(EVENTS).await;
    world.unarmed_job(params(json!({"vacuum": "after"})), json!({})).await;
    assert_eq!(world.succeed().await.mode, "dry");
    world.job(params(json!({"vacuum": "after", "where": "false"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/vacuum"), vacuums(&world, "events").await), (0, &Value::Null, 0));
}

#[tokio::test]
async fn a_run_outside_its_hours_or_that_stepped_back_leaves_the_vacuum_to_others() {
    let world = World::new(EVENTS).await;
    // The first batch goes, and then the condition is true.
    world
        .job(params(json!({"vacuum": "after", "batch": 100, "yield_for": "1ms",
            "yield_when": "(SELECT count(*) < 1000 FROM events)", "pacing": {"rows_per_second": 90}})))
        .await;
    let ran = world.succeed().await;
    assert_eq!(detail(&ran, "/stopped"), "back_pressure", "{:?}", ran.report);
    assert!(ran.rows > 0, "{:?}", ran.report);
    assert_eq!(
        (detail(&ran, "/vacuum/skipped"), vacuums(&world, "events").await),
        (&json!("the run had stepped back"), 0)
    );
}

#[tokio::test]
async fn a_vacuum_that_fails_is_a_warning() {
    let world = World::new(EVENTS).await;
    world.0.execute(SLOW_ANALYZE).await;
    world
        .0
        .execute(
            "CREATE OR REPLACE FUNCTION slow(bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql
               AS $$ BEGIN RAISE EXCEPTION 'no analyze'; END $$",
        )
        .await;
    world.job(params(json!({}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, ran.state.as_str()), (500, "succeeded"));
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(
        warnings.contains("public.events was not vacuumed") && warnings.contains("no analyze"),
        "{warnings}"
    );
}

#[tokio::test]
async fn a_table_in_use_by_a_vacuum_is_passed_over() {
    let world = World::new(EVENTS).await;
    // It conflicts with VACUUM, and with no DELETE.
    let other = world.0.session().await;
    other.batch_execute("BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    world.job(params(json!({}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, vacuums(&world, "events").await), (500, 0));
    assert_eq!(detail(&ran, "/vacuum/skipped/0/why"), "somebody holds a lock on it", "{:?}", ran.report);
    other.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn only_partitions_that_lost_much_are_vacuumed() {
    let world = World::new(
        "CREATE TABLE events (at timestamptz NOT NULL, n int) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-02-01 00:00+00') WITH (autovacuum_enabled = off);
         CREATE TABLE p2 PARTITION OF events FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-03-01 00:00+00') WITH (autovacuum_enabled = off);
         CREATE TABLE p3 PARTITION OF events FOR VALUES FROM ('2026-03-01 00:00+00') TO (MAXVALUE) WITH (autovacuum_enabled = off);
         CREATE INDEX ON events (at);
         INSERT INTO events SELECT '2026-01-05 00:00+00', i FROM generate_series(1, 300) i;
         INSERT INTO events SELECT '2026-02-03 00:00+00', i FROM generate_series(1, 20) i;
         INSERT INTO events SELECT '2026-02-25 00:00+00', i FROM generate_series(1, 300) i;
         ANALYZE p1; ANALYZE p2; ANALYZE p3",
    )
    .await;
    // Of p1 every row goes one by one, of p2 a few, of p3 none.
    world.job(params(json!({"walk": "index"}))).await;
    let ran = world.occurrence().now("2026-03-01T00:00:00Z".parse().unwrap()).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 320), "{:?}", ran.error);
    let done = detail(&ran, "/vacuum/done").as_array().unwrap().iter();
    assert_eq!(
        done.map(|one| one["table"].as_str().unwrap()).collect::<Vec<_>>(),
        ["public.p1"],
        "{:?}",
        ran.report
    );
    assert_eq!(
        (vacuums(&world, "p1").await, vacuums(&world, "p2").await, vacuums(&world, "p3").await),
        (1, 0, 0)
    );
}

/// Waits until the purge is done and its VACUUM is on its way.
async fn vacuum_under_way(world: &World) {
    let sql =
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event = 'PgSleep'
                 AND datname = current_database())";
    world.0.until("the VACUUM is under way", sql, &[]).await;
}

#[tokio::test]
async fn a_shutdown_breaks_the_vacuum_off_and_the_purge_has_succeeded() {
    let world = World::new(EVENTS).await;
    world.0.execute(SLOW_ANALYZE).await;
    world.job(params(json!({}))).await;
    world.0.verb("run_now", "j").await;
    let replica = Replica::with(&world.0, |builder| builder.registry(Registry::with_builtins()));
    vacuum_under_way(&world).await;
    replica.drain().await;
    assert_eq!(world.0.outcomes("j").await, "succeeded");
    let report: Value = world.0.last_run("j", "report").await;
    assert_eq!(
        (&report["deleted"], &report["vacuum"]["skipped"][0]["why"]),
        (&json!(500), &json!("this replica shut down"))
    );
    let analyzed =
        world.number("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'events'").await;
    assert_eq!(analyzed, 1, "none but the test's own came to its end");
}

#[tokio::test]
async fn a_cancel_reaches_the_vacuum() {
    let world = World::new(EVENTS).await;
    world.0.execute(SLOW_ANALYZE).await;
    world.job(params(json!({}))).await;
    world.0.verb("run_now", "j").await;
    let replica = Replica::with(&world.0, |builder| builder.registry(Registry::with_builtins()));
    vacuum_under_way(&world).await;
    world.0.verb("cancel", "j").await;
    world
        .0
        .until("it is cancelled", "SELECT state = 'cancelled' FROM sexton.run WHERE job_name = 'j'", &[])
        .await;
    let left: bool = world.0.get("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND state = 'active' AND datname = current_database())", &[]).await;
    assert!(!left, "the VACUUM is over");
    replica.drain().await;
}
