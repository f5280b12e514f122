//! Batches of a heap walk that are begun behind the commit of the one before: none is stepped over, and what was begun is
//! taken back when another thing comes next.

use serde_json::json;

use crate::purge_support::{World, detail};

/// 6,000 rows that go, some 24 to a block, and 10 that stay.
const EVENTS: &str = "CREATE TABLE events (id bigint NOT NULL, at timestamptz NOT NULL, note text NOT NULL);
    INSERT INTO events SELECT i, now() - interval '40 days', repeat('x', 280) FROM generate_series(1, 6000) i;
    INSERT INTO events SELECT i, now(), 'young' FROM generate_series(6001, 6010) i;";

async fn world(more: &str) -> World {
    let world = World::new(&format!("{EVENTS} {more}")).await;
    let params = json!({"table": "events", "by": "at", "retention": "20 days", "walk": "heap", "pacing": "full",
                        "batch": 240, "max_fraction": 1});
    world.job(params).await;
    world
}

const LEFT: &str = "SELECT count(*) FROM events";

#[tokio::test]
async fn batches_that_are_begun_ahead_delete_each_row_once() {
    let world = world("").await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.number(LEFT).await), (6000, 10), "{:?}", ran.report);
    let (ahead, batches) = (detail(&ran, "/begun_ahead").as_u64(), detail(&ran, "/batches").as_u64());
    assert!(Some(0) < ahead && ahead < batches, "all but the first may be: {:?}", ran.report);
}

#[tokio::test]
async fn where_rows_are_limited_none_is_begun_in_advance() {
    let world = world("").await;
    world.0.execute("UPDATE sexton.job SET params = params || '{\"limit_rows\": 1000}'").await;
    world.0.verb("arm", "j").await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/begun_ahead").as_u64()), (1000, Some(0)), "{:?}", ran.report);
}

#[tokio::test]
async fn what_a_lost_run_had_begun_is_undone() {
    let world = world("").await;
    let lost = world.occurrence().kill_after_batches(4).run().await.unwrap();
    let gone = lost.rows;
    assert!(lost.state == "running" && gone > 0, "{lost:?}");
    assert_eq!(world.number(LEFT).await, 6010 - gone, "the next one had been begun");
    let ran = world.succeed().await;
    assert_eq!(ran.rows, 6000 - gone, "{:?}", ran.report);
    assert_eq!(world.number(LEFT).await, 10);
}

#[tokio::test]
async fn nothing_that_was_begun_commits_after_a_pause() {
    // Each statement takes a moment, so that there is one under way when the pause comes.
    let world = world(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;
         CREATE TRIGGER linger AFTER DELETE ON events FOR EACH STATEMENT EXECUTE FUNCTION linger();",
    )
    .await;
    let run = tokio::spawn(world.occurrence().run());
    world.0.until("some batches are through", "SELECT count(*) < 5500 FROM events", &[]).await;
    world.0.verb("pause", "j").await;
    let left = world.number(LEFT).await;
    let ran = run.await.unwrap().unwrap();
    assert_eq!(ran.rows, 6010 - left, "{:?}", ran.report);
    assert_eq!(world.number(LEFT).await, left, "no batch commits once the verb has returned");
    assert!(left > 10, "it was paused in the middle");
}

#[tokio::test]
async fn a_batch_that_is_undone_is_not_stepped_over() {
    // Two blocks whose rows take 20 ms each: the batch with them is taken back and made smaller.
    let world = world(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN OLD; END $$;
         CREATE TRIGGER linger BEFORE DELETE ON events FOR EACH ROW WHEN (OLD.id BETWEEN 3000 AND 3047)
           EXECUTE FUNCTION linger();",
    )
    .await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.number(LEFT).await), (6000, 10), "{:?}", ran.report);
    assert!(detail(&ran, "/begun_ahead").as_u64() > Some(0), "{:?}", ran.report);
}

#[tokio::test]
async fn a_row_that_is_locked_in_the_middle_is_left_and_the_rest_goes() {
    let world = world("").await;
    let application = world.0.session().await;
    application.batch_execute("BEGIN; SELECT FROM events WHERE id IN (2500, 2501) FOR UPDATE").await.unwrap();
    let ran = world.succeed().await;
    assert_eq!((ran.rows, world.number(LEFT).await), (5998, 12), "{:?}", ran.report);
    assert_eq!(detail(&ran, "/skipped_locked").as_u64(), Some(2), "{:?}", ran.report);
}
