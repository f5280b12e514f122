//! Whole partitions: which go, what becomes of the other old rows, what forbids it, and who is kept waiting.

use std::time::Duration;

use serde_json::{Value, json};

use crate::purge_support::{World, detail};

/// Ten rows a day of January and February 2026: `p1` and `p2` by half months, `p3` all of February, and a default one.
const TABLE: &str = "CREATE TABLE p (at timestamptz NOT NULL, n int NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-01-16 00:00+00');
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2026-01-16 00:00+00') TO ('2026-02-01 00:00+00');
    CREATE TABLE p3 PARTITION OF p FOR VALUES FROM ('2026-02-01 00:00+00') TO ('2026-03-01 00:00+00');
    CREATE TABLE other PARTITION OF p DEFAULT;
    CREATE INDEX ON p (at);
    INSERT INTO p SELECT timestamptz '2026-01-01 00:00+00' + i * interval '2.4 hours', i FROM generate_series(0, 589) i;
    ANALYZE p1; ANALYZE p2; ANALYZE p3; ANALYZE other;";

/// The cutoff is the 10th of February: 400 rows are old, 150 and 160 of them in partitions that are old as a whole.
const NOW: &str = "2026-02-11T00:00:00Z";

fn params(more: Value) -> Value {
    let mut params =
        json!({"table": "p", "by": "at", "retention": "1 day", "max_fraction": 1, "pacing": "full"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

async fn run(world: &World) -> sexton::testing::Ran {
    world.occurrence().now(NOW.parse().unwrap()).run().await.unwrap()
}

async fn partitions(world: &World) -> Vec<String> {
    let sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'p'::regclass ORDER BY 1";
    world.0.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn auto_drops_what_is_old_as_a_whole_and_deletes_the_other_old_rows() {
    // Whatever the database makes of dates and zones.
    for style in ["", "SET DateStyle = ''SQL, DMY''", "SET TimeZone = ''Asia/Kolkata''"] {
        let world = World::new(TABLE).await;
        if !style.is_empty() {
            world
                .0
                .execute(&format!(
                    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {style}', current_database()); END $$"
                ))
                .await;
        }
        world.job(params(json!({}))).await;
        let ran = run(&world).await;
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
        assert_eq!((detail(&ran, "/walk"), ran.rows), (&json!("partition"), 400), "{:?}", ran.report);
        assert_eq!(partitions(&world).await, ["other", "p3"], "{style}");
        assert_eq!(world.number("SELECT min(n)::bigint FROM p").await, 400);
        assert_eq!(world.number("SELECT count(*) FROM p").await, 190);
        let p1 = detail(&ran, "/partitions/0");
        assert_eq!(
            (&p1["name"], &p1["rows"], &p1["counted"]),
            (&json!("public.p1"), &json!(150), &json!(false))
        );
        assert_eq!(
            (detail(&ran, "/rows_left"), detail(&ran, "/deleted_estimated")),
            (&json!(0), &json!(true))
        );
    }
}

#[tokio::test]
async fn straddling_rows_may_be_left() {
    let world = World::new(TABLE).await;
    world.job(params(json!({"walk": "partition", "straddling": "leave", "exact_counts": true}))).await;
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 310), "{:?}", ran.error);
    assert_eq!(detail(&ran, "/partitions/1/counted"), true);
    assert_eq!(world.number("SELECT min(n)::bigint FROM p").await, 310);
    assert_eq!(detail(&ran, "/rows_left_estimate"), 90, "{:?}", ran.report);
}

#[tokio::test]
async fn unarmed_it_lists_the_partitions_that_would_go() {
    let world = World::new(TABLE).await;
    world.unarmed_job(params(json!({"walk": "partition"})), json!({})).await;
    let ran = run(&world).await;
    assert_eq!(
        (ran.rows, detail(&ran, "/walk"), detail(&ran, "/eligible")),
        (0, &json!("partition"), &json!(400))
    );
    let names: Vec<&Value> =
        detail(&ran, "/partitions").as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["public.p1", "public.p2"]);
    assert_eq!(partitions(&world).await, ["other", "p1", "p2", "p3"]);
}

#[tokio::test]
async fn they_move_to_a_schema_and_what_has_no_room_there_stays() {
    let world = World::new(&format!("{TABLE} CREATE SCHEMA \"Old\"; CREATE TABLE \"Old\".p2 ();")).await;
    world.job(params(json!({"walk": "partition", "archive_schema": "Old"}))).await;
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 150), "{:?} {:?}", ran.error, ran.report);
    assert_eq!(world.number("SELECT count(*) FROM \"Old\".p1").await, 150);
    assert_eq!(partitions(&world).await, ["other", "p2", "p3"]);
    assert_eq!(detail(&ran, "/partitions_kept/0/why"), "\"Old\" has a table of that name");
}

#[tokio::test]
async fn the_last_partition_and_the_default_one_stay_and_lose_their_rows() {
    let world = World::new(
        "CREATE TABLE p (at date NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2020-01-02') TO ('2020-01-03');
         CREATE TABLE other PARTITION OF p DEFAULT; CREATE INDEX ON p (at);
         INSERT INTO p SELECT date '2020-01-01' + i FROM generate_series(0, 3) i;",
    )
    .await;
    world.job(params(json!({"walk": "partition"}))).await;
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 4), "{:?} {:?}", ran.error, ran.report);
    assert_eq!(partitions(&world).await, ["other", "p2"]);
    assert_eq!(detail(&ran, "/partitions_kept/0/why"), "it is the last partition");
    assert_eq!(world.number("SELECT count(*) FROM p").await, 0);
}

#[tokio::test]
async fn what_needs_single_rows_is_walked_by_index_or_refused_where_partitions_were_asked_for() {
    let key = "CREATE TABLE p (at timestamptz PRIMARY KEY) PARTITION BY RANGE (at);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
        CREATE TABLE child (at timestamptz REFERENCES p ON DELETE CASCADE); CREATE INDEX ON child (at);
        INSERT INTO p VALUES ('2025-01-01'); INSERT INTO child VALUES ('2025-01-01');";
    let trigger = format!(
        "{TABLE} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
         CREATE TRIGGER told BEFORE DELETE ON p FOR EACH ROW EXECUTE FUNCTION f();"
    );
    for (sql, why, rows) in
        [(key, "of public.child references", 1), (&trigger, "triggers would not hear", 400)]
    {
        let world = World::new(sql).await;
        world.job(params(json!({}))).await;
        let before = partitions(&world).await;
        let ran = run(&world).await;
        assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", rows), "{:?}", ran.error);
        assert!(detail(&ran, "/walk_why").as_str().unwrap().contains(why), "{:?}", ran.report);
        assert_eq!(partitions(&world).await, before);
    }
    let world = World::new(key).await;
    world.job(params(json!({"walk": "partition"}))).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("references public.p") && refusal.contains("walk = \"index\""), "{refusal}");
    world.0.execute("CREATE TABLE plain (at timestamptz)").await;
    world.job(params(json!({"table": "plain", "walk": "partition"}))).await;
    assert!(world.refused().await.contains("has no partitions by range of its age"));
}

#[tokio::test]
async fn guards_and_budgets_hold_for_partitions_too() {
    let world = World::new(TABLE).await;
    world.job(params(json!({"walk": "partition", "refuse_above": 300}))).await;
    assert!(world.refused().await.contains("refuse_above"));
    assert_eq!(partitions(&world).await.len(), 4);
    world.job(params(json!({"walk": "partition", "limit_rows": 200}))).await;
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 150), "{:?}", ran.report);
    assert_eq!(detail(&ran, "/stopped"), "limit_rows");
    assert!(detail(&ran, "/halted").as_str().unwrap().contains("public.p2 holds 160 rows"));
}

#[tokio::test]
async fn a_reader_is_waited_for_and_no_reader_waits_for_long() {
    let world = World::new(TABLE).await;
    world.job(params(json!({"walk": "partition"}))).await;
    let reader = world.0.session().await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM p").await.unwrap();
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let purge = tokio::spawn(async move { occurrence.run().await.unwrap() });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
    while world.number(waits).await == 0 {
        assert!(!purge.is_finished(), "{:?}", purge.await);
        tokio::task::yield_now().await;
    }
    // It would wait for as long as the reader before it, if the purge did not step back.
    let limit = Duration::from_secs(5);
    let read = tokio::time::timeout(limit, world.number("SELECT count(*) FROM p")).await;
    assert_eq!(read.expect("the purge steps back"), 590);
    reader.batch_execute("COMMIT").await.unwrap();
    let ran = purge.await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 400), "{:?}", ran.error);
}

#[tokio::test]
async fn a_lost_run_goes_on_with_the_next_partition() {
    let world = World::new(TABLE).await;
    world.job(params(json!({"walk": "partition"}))).await;
    // The first batch is the cutoff's.
    let lost = world.occurrence().now(NOW.parse().unwrap()).kill_after_batches(2).run().await.unwrap();
    assert_eq!(partitions(&world).await, ["other", "p2", "p3"], "{lost:?}");
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 250), "{:?} {:?}", ran.error, ran.report);
    assert_eq!(detail(&ran, "/partitions/0/name"), "public.p2");
    assert_eq!(world.number("SELECT min(n)::bigint FROM p").await, 400);
}

#[tokio::test]
async fn a_drop_that_the_fence_refuses_is_taken_back() {
    // The pause arrives after the DROP and before the fence: in the DROP's own transaction, so that it must be seen.
    let world = World::new(&format!(
        "{TABLE} CREATE FUNCTION interrupt() RETURNS event_trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM sexton.pause('j'); END $$;"
    ))
    .await;
    world.job(params(json!({"walk": "partition"}))).await;
    world.0.execute("CREATE EVENT TRIGGER interrupt ON sql_drop EXECUTE FUNCTION interrupt()").await;
    let ran = run(&world).await;
    assert_eq!(ran.rows, 0, "{ran:?}");
    assert_eq!(partitions(&world).await, ["other", "p1", "p2", "p3"]);
    assert_eq!(world.number("SELECT count(*) FROM p").await, 590);
    world.0.execute("DROP EVENT TRIGGER interrupt").await;
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 400), "{:?}", ran.error);
}

#[tokio::test]
async fn nobody_elses_tables_are_waited_for() {
    // The size of a table waits for whoever keeps it; of those that do not go, none is asked for.
    let world = World::new(&format!("{TABLE} CREATE TABLE elsewhere ();")).await;
    world.job(params(json!({"walk": "partition", "straddling": "leave"}))).await;
    let other = world.0.session().await;
    other.batch_execute("BEGIN; LOCK TABLE elsewhere").await.unwrap();
    let sizes =
        "SET lock_timeout = 1; SELECT pg_total_relation_size(oid) FROM pg_class WHERE relname = 'elsewhere'";
    let waits = world.0.session().await.batch_execute(sizes).await.unwrap_err();
    assert_eq!(waits.code().unwrap().code(), "55P03");
    let ran = run(&world).await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 310), "{:?}", ran.error);
}

#[tokio::test]
async fn the_last_partition_stays_though_another_was_to_be_the_last() {
    let world = World::new(
        "CREATE TABLE p (at date NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2020-01-02') TO ('2020-01-03');
         CREATE INDEX ON p (at); INSERT INTO p VALUES ('2020-01-01'), ('2020-01-02'); ANALYZE p;",
    )
    .await;
    world.job(params(json!({"walk": "partition"}))).await;
    // It cannot have the one that goes until the one that was to stay is gone.
    let reader = world.0.session().await;
    reader.batch_execute("BEGIN; LOCK TABLE p1 IN ACCESS SHARE MODE").await.unwrap();
    let occurrence = world.occurrence().now(NOW.parse().unwrap());
    let purge = tokio::spawn(async move { occurrence.run().await.unwrap() });
    while world.number("SELECT count(*) FROM sexton.run_part WHERE cursor IS NOT NULL").await == 0 {
        assert!(!purge.is_finished(), "{:?}", purge.await);
        tokio::task::yield_now().await;
    }
    world.0.execute("DROP TABLE p2").await;
    reader.batch_execute("COMMIT").await.unwrap();
    let ran = purge.await.unwrap();
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 1), "{:?} {:?}", ran.error, ran.report);
    assert_eq!(partitions(&world).await, ["p1"]);
    assert_eq!(world.number("SELECT count(*) FROM p").await, 0);
}
