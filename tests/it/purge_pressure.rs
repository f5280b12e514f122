//! When a purge steps back, for how long, and what it says of that.

use serde_json::{Value, json};

use crate::purge_support::{World, detail};

/// A hundred old rows, and as many young ones.
const TABLE: &str = "CREATE TABLE t (at timestamptz NOT NULL, n int);
    INSERT INTO t SELECT now() - (i % 2) * interval '9 days', i FROM generate_series(1, 200) i;";

fn params(more: Value) -> Value {
    let mut params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1});
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn it_rests_while_the_authors_condition_holds() {
    let world = World::new(&format!("{TABLE} CREATE SEQUENCE asked;")).await;
    world.job(params(json!({"yield_when": "nextval('asked') = 1 -- at first", "pacing": "full"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/stopped")), (100, &json!("drained")));
    assert_eq!(detail(&ran, "/yielded/yield_when"), &json!({"times": 1, "ms": 1000}), "{:?}", ran.report);
    assert_eq!(detail(&ran, "/yielded_at_last_to"), &Value::Null);
}

#[tokio::test]
async fn after_a_bound_it_ends_and_comes_back_soon() {
    let world = World::new(TABLE).await;
    world.job(params(json!({"yield_when": "true", "yield_for": "1s"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/stopped")), (0, &json!("back_pressure")));
    assert_eq!(detail(&ran, "/yielded_at_last_to"), "yield_when");
    let resumes = "SELECT count(*) FROM sexton.job WHERE name = 'j' AND origin = 'resume' AND due_at > now()";
    assert_eq!(world.number(resumes).await, 1);
}

#[tokio::test]
async fn gentle_steps_back_for_a_vacuum_and_full_does_not() {
    let world = World::new(TABLE).await;
    let vacuum = world.0.session().await;
    vacuum.batch_execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    world.job(params(json!({"yield_for": "1s"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/yielded_at_last_to")), (0, &json!("vacuum")), "{:?}", ran.report);
    world.job(params(json!({"pacing": "full"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/yielded")), (100, &Value::Null));
}

#[tokio::test]
async fn gentle_steps_back_for_a_vacuum_of_a_child_too() {
    let world = World::new(&format!(
        "{TABLE} ALTER TABLE t ADD PRIMARY KEY (n);
         CREATE TABLE c (id int PRIMARY KEY, t_n int REFERENCES t);
         CREATE INDEX ON c (t_n);"
    ))
    .await;
    let vacuum = world.0.session().await;
    vacuum.batch_execute("BEGIN; LOCK TABLE c IN SHARE UPDATE EXCLUSIVE MODE").await.unwrap();
    world.job(params(json!({"yield_for": "1s", "children": ["c"]}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/yielded_at_last_to")), (0, &json!("vacuum")), "{:?}", ran.report);
    vacuum.batch_execute("COMMIT").await.unwrap();
    world.0.verb("run_now", "j").await;
    assert_eq!(world.succeed().await.rows, 100);
}

#[tokio::test]
async fn gentle_steps_back_for_who_waits_for_the_table() {
    let world = World::new(TABLE).await;
    let (holder, waiter) = (world.0.session().await, world.0.session().await);
    let lock = "BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let waits = tokio::spawn(async move { waiter.batch_execute(lock).await });
    let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass)";
    world.0.until("somebody waits", waiting, &[]).await;
    world.job(params(json!({"yield_for": "1s"}))).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/yielded_at_last_to")), (0, &json!("waiting")), "{:?}", ran.report);
    holder.batch_execute("COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_condition_that_is_none_is_refused() {
    let world = World::new(TABLE).await;
    for (condition, part) in [("1", "not boolean"), ("true), (true", "yield_when"), ("nope", "nope")] {
        world.job(params(json!({"yield_when": condition}))).await;
        let refusal = world.refused().await;
        assert!(refusal.contains("params.yield_when") && refusal.contains(part), "{refusal}");
    }
}
