//! What is said beforehand and in between: estimates, the longest time that a row can live, and whether a job keeps up.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sexton::testing::Ran;

use crate::purge_support::{World, detail};

/// A row an hour for the forty days before this instant.
const NOW: &str = "2026-03-01T00:00:00Z";
const EVENTS: &str = "CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz);
    INSERT INTO events SELECT i, timestamptz '2026-03-01 00:00+00' - i * interval '1 hour' FROM generate_series(1, 960) i;
    CREATE INDEX ON events (at);";

fn params(more: Value) -> Value {
    let mut params =
        json!({"table": "events", "by": "at", "retention": "20 days", "max_fraction": 1, "pacing": "full"});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

/// Runs the job as of so many days after [`NOW`].
async fn run_on(world: &World, day: i64) -> Ran {
    let now: Timestamp = NOW.parse().unwrap();
    let ran = world.occurrence().now(now + SignedDuration::from_hours(24 * day)).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
    ran
}

async fn schedule(world: &World, schedule: &str) {
    world
        .0
        .client
        .execute("UPDATE sexton.job SET schedule = $1 WHERE name = 'j'", &[&schedule])
        .await
        .unwrap();
}

/// What the view says of the job.
async fn of_view<T: tokio_postgres::types::FromSqlOwned>(world: &World, expression: &str) -> T {
    world.0.get(&format!("SELECT {expression} FROM sexton.jobs WHERE name = 'j'"), &[]).await
}

#[tokio::test]
async fn a_job_whose_rows_come_faster_than_they_go_never_catches_up() {
    let world = World::new(EVENTS).await;
    // 24 rows a day come of age; 10 a run go.
    world.job(params(json!({"limit_rows": 10}))).await;
    let first = run_on(&world, 0).await;
    assert_eq!(detail(&first, "/backlog/rows"), 480 - 10, "{:?}", first.report);
    assert_eq!(detail(&first, "/backlog/catches_up"), &Value::Null, "one run tells nothing");
    assert_eq!(run_on(&world, 1).await.rows, 10);
    assert_eq!(of_view::<Option<bool>>(&world, "catches_up").await, None);
    let third = run_on(&world, 2).await;
    let backlog = detail(&third, "/backlog");
    assert_eq!(
        (&backlog["rows"], &backlog["arrival_per_day"], &backlog["drain_per_day"], &backlog["catches_up"]),
        (&json!(480 + 48 - 30), &json!(24), &json!(10), &json!(false)),
        "{backlog}"
    );
    // The oldest of the 960 that is left is number 930, and the cutoff is 18 days before the first instant.
    assert_eq!(backlog["oldest"], "2026-01-21T06:00:00Z");
    assert_eq!(backlog["overdue_s"], (930 - 18 * 24) * 3600);
    assert!(!of_view::<bool>(&world, "catches_up").await);
    assert_eq!(of_view::<i64>(&world, "eligible").await, 498);
    assert_eq!(of_view::<String>(&world, "oldest_overdue").await, "2026-01-21T06:00:00Z");
    assert!(
        of_view::<bool>(&world, "overdue_by >= interval '498 hours' AND overdue_by < interval '499 hours'")
            .await
    );
    assert_eq!(of_view::<i64>(&world, "arrival_per_day - drain_per_day").await, 14);
    let why: String = world.0.get("SELECT sexton.why('j')", &[]).await;
    assert!(
        why.contains("It will never catch up: about 24 rows a day come of age, and it deletes 10"),
        "{why}"
    );
    // A day passes for the view too.
    world.0.execute("UPDATE sexton.run SET finished_at = finished_at - interval '1 day'").await;
    assert_eq!(of_view::<i64>(&world, "eligible").await, 498 + 24);
}

#[tokio::test]
async fn one_that_takes_more_than_comes_catches_up() {
    let world = World::new(EVENTS).await;
    world.job(params(json!({"limit_rows": 124}))).await;
    for day in 0..2 {
        run_on(&world, day).await;
    }
    let third = run_on(&world, 2).await;
    let backlog = detail(&third, "/backlog");
    // 480 + 48 came of age, 372 went; 100 a day more go than come.
    assert_eq!(
        (&backlog["rows"], &backlog["catches_up"], &backlog["days_to_drain"]),
        (&json!(156), &json!(true), &json!(1.6))
    );
    assert!(of_view::<bool>(&world, "catches_up").await);
    run_on(&world, 3).await;
    let drained = run_on(&world, 4).await;
    assert_eq!(
        (detail(&drained, "/stopped"), detail(&drained, "/backlog/rows")),
        (&json!("drained"), &json!(0))
    );
    assert_eq!(of_view::<i64>(&world, "eligible").await, 0);
    let why: String = world.0.get("SELECT sexton.why('j')", &[]).await;
    assert!(!why.contains("catch up"), "{why}");
}

#[tokio::test]
async fn a_lost_attempt_counts_as_drained() {
    let world = World::new(EVENTS).await;
    world.job(params(json!({"batch": 20, "limit_rows": 100}))).await;
    let now: Timestamp = NOW.parse().unwrap();
    let lost = world.occurrence().now(now).kill_after_batches(3).run().await.unwrap();
    assert_eq!(lost.state, "running");
    let ran = run_on(&world, 0).await;
    assert_eq!((ran.attempt, detail(&ran, "/backlog/rows")), (2, &json!(380)), "{:?}", ran.report);
    assert_eq!(
        detail(&ran, "/deleted").as_i64().unwrap() + detail(&ran, "/deleted_before").as_i64().unwrap(),
        100
    );
}

#[tokio::test]
async fn a_row_lives_for_the_retention_and_until_the_next_run_is_through() {
    let world = World::new(EVENTS).await;
    world.unarmed_job(params(json!({"grace": "2 days"})), json!({})).await;
    assert_eq!(
        detail(&run_on(&world, 0).await, "/longest_life"),
        &Value::Null,
        "nothing brings the next run"
    );
    schedule(&world, "daily 03:00").await;
    let ran = run_on(&world, 0).await;
    let life = detail(&ran, "/longest_life");
    assert_eq!((&life["seconds"], &life["run_s"]), (&json!(23 * 86_400), &Value::Null), "{life}");
    assert_eq!(life["text"], "23 d (22 d kept, 1 d between runs)");
    assert!(!detail(&ran, "/warnings").to_string().contains("may live"));
    // Where a weekend is the longest time between two runs.
    schedule(&world, "30 2 * * MON-FRI").await;
    assert_eq!(detail(&run_on(&world, 0).await, "/longest_life/between_runs_s"), 3 * 86_400);
    schedule(&world, "every 2 weeks").await;
    let ran = run_on(&world, 0).await;
    let warnings = detail(&ran, "/warnings").to_string();
    assert!(
        warnings.contains("a row may live for 36 d: 14 d pass between two runs, more than half of the 22 d"),
        "{warnings}"
    );
    // A run's own time counts once there was one, and real runs say the same.
    world.job(params(json!({"grace": "2 days"}))).await;
    run_on(&world, 0).await;
    world
        .0
        .execute("UPDATE sexton.run SET started_at = finished_at - interval '1 hour' WHERE mode = 'real'")
        .await;
    let ran = run_on(&world, 1).await;
    assert_eq!(detail(&ran, "/longest_life/run_s"), 3600, "{:?}", ran.report);
    assert_eq!(detail(&ran, "/longest_life/seconds"), 36 * 86_400 + 3600);
}

#[tokio::test]
async fn hours_in_which_it_may_not_work_count() {
    let world = World::new(EVENTS).await;
    world.unarmed_job(params(json!({"window": "22:00-04:00"})), json!({})).await;
    schedule(&world, "every 1h").await;
    assert_eq!(detail(&run_on(&world, 0).await, "/longest_life/between_runs_s"), 18 * 3600);
}

#[tokio::test]
async fn a_dry_run_estimates_by_the_real_ones_before() {
    let world = World::new(EVENTS).await;
    world.job(params(json!({"limit_rows": 100, "batch": 25}))).await;
    let dry = sexton::kind::Options { dry_run: Some(true), ..Default::default() };
    let plan = world.occurrence().now(NOW.parse().unwrap()).options(dry.clone()).run().await.unwrap();
    assert_eq!(detail(&plan, "/estimate"), &Value::Null, "there is no run to go by");
    assert_eq!(detail(&plan, "/backlog/rows"), 480);
    assert_eq!(
        (detail(&plan, "/backlog/oldest"), detail(&plan, "/backlog/overdue_s")),
        (detail(&plan, "/oldest"), &json!(480 * 3600))
    );
    let real = run_on(&world, 0).await;
    let plan = world.occurrence().now(NOW.parse().unwrap()).options(dry).run().await.unwrap();
    let told = detail(&plan, "/estimate");
    assert_eq!(
        (&told["rows"], &told["batches"], &told["runs_needed"], &told["from_runs"]),
        (&json!(100), detail(&real, "/batches"), &json!(4), &json!(1)),
        "{told}"
    );
    assert_eq!(told["wal_bytes"], *detail(&real, "/wal_bytes"));
    assert!(told["seconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_plan_names_the_index_that_is_missing() {
    // More than 8 MiB, few rows of which are old.
    let world = World::new(
        "CREATE TABLE events (\"At\" timestamptz, filler text);
         INSERT INTO events SELECT now() - i * interval '1 hour', repeat('x', 1900) FROM generate_series(1, 5000) i",
    )
    .await;
    world.unarmed_job(json!({"table": "events", "by": "At", "retention": "208 days"}), json!({})).await;
    let ran = world.succeed().await;
    assert_eq!(
        detail(&ran, "/missing_indexes"),
        &json!(["CREATE INDEX CONCURRENTLY ON public.events (\"At\");"]),
        "{:?}",
        ran.report
    );
    world.0.execute(detail(&ran, "/missing_indexes/0").as_str().unwrap()).await;
    let ran = world.succeed().await;
    assert_eq!((detail(&ran, "/missing_indexes"), detail(&ran, "/walk")), (&json!([]), &json!("index")));
}
