//! Purges that keep rows in a storage, and `sexton restore --archive`: every row is in its table or comes back, and once.

use serde_json::{Value, json};
use sexton::{kind::Options, testing::Ran};

#[cfg(feature = "s3-server")]
use crate::backup_s3::{known, local, serve};
use crate::{
    backup::{NAMES, TABLES, contents, fill},
    backup_support::{World, files},
    purge_support::detail,
};

/// 40 rows, an hour apart.
const LOG: &str = "CREATE TABLE log (id int PRIMARY KEY, at timestamptz NOT NULL, \"What?\" text, twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO log SELECT i, now() - i * interval '1 hour', nullif('w' || i % 3, 'w0') FROM generate_series(1, 40) i; CREATE INDEX ON log (at);";

fn params() -> Value {
    json!({"table": "log", "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 7, "walk": "index",
           "archive": {"storage": "shelf"}})
}

/// Saves the job `nightly` as a purge, and arms it.
async fn job(world: &World, params: Value) {
    let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('nightly', 'purge', $1)
               ON CONFLICT (name) DO UPDATE SET params = excluded.params";
    world.db.client.execute(sql, &[&params]).await.unwrap();
    world.db.verb("arm", "nightly").await;
}

/// A database with the log, and its purge.
async fn log(params: Value) -> World {
    let world = World::new(LOG).await;
    job(&world, params).await;
    world
}

async fn number(world: &World, sql: &str) -> i64 {
    world.db.get(sql, &[]).await
}

/// `sexton restore --archive …`: what it wrote, by table.
async fn brought_back(world: &World, args: &[&str]) -> Vec<(String, u64)> {
    let answer = world.restored(&[&["--archive", "--json"], args].concat()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let sets = answer["sets"].as_array().unwrap().iter();
    sets.map(|set| (set["set"].as_str().unwrap().to_owned(), set["written"].as_u64().unwrap())).collect()
}

/// Brings all back into the log, twice: it is then as it was.
async fn log_is_whole(world: &World, was: &str, gone: u64) {
    assert_eq!(brought_back(world, &[]).await, [("public.log".to_owned(), gone)]);
    assert_eq!(world.rows("log").await, was);
    assert_eq!(brought_back(world, &[]).await, [("public.log".to_owned(), 0)], "nothing comes back twice");
    assert_eq!(world.rows("log").await, was);
}

fn stored(ran: &Ran, name: &str) -> u64 {
    detail(ran, &format!("/stored/{name}")).as_u64().unwrap()
}

#[tokio::test]
async fn rows_go_into_an_object_a_batch_and_come_back_once() {
    for (format, pacing, walk) in [("jsonl", "gentle", "index"), ("csv", "full", "heap")] {
        let mut params = params();
        params["archive"] = json!({"storage": "shelf", "format": format, "prefix": "cold/"});
        (params["pacing"], params["walk"]) = (pacing.into(), walk.into());
        let world = log(params).await;
        let was = world.rows("log").await;
        let ran = world.succeed().await;
        assert_eq!((ran.rows, detail(&ran, "/archived").as_u64()), (30, Some(30)), "{:?}", ran.report);
        let there = files(&world.shelf());
        let of = |ending: &str| there.iter().filter(|file| file.ends_with(ending)).count() as u64;
        assert_eq!((stored(&ran, "rows"), stored(&ran, "objects")), (30, of(&format!("public.log.{format}.zst"))));
        assert_eq!((of(".json"), stored(&ran, "objects") + of(".json")), (stored(&ran, "objects"), there.len() as u64));
        let bytes = there.iter().filter(|file| file.ends_with(".zst"));
        let bytes = bytes.map(|file| world.shelf().join(file).metadata().unwrap().len()).sum::<u64>();
        assert_eq!(stored(&ran, "bytes"), bytes);
        assert!(there.iter().all(|file| file.starts_with("cold/nightly/")), "{there:?}");
        log_is_whole(&world, &was, 30).await;
        // What was brought back and goes again is there twice, and comes back once.
        world.db.execute("UPDATE log SET \"What?\" = 'anew' WHERE id = 33").await;
        let was = world.rows("log").await;
        world.succeed().await;
        log_is_whole(&world, &was, 30).await;
    }
}

#[tokio::test]
async fn all_types_come_back_from_several_targets() {
    let world = World::new(TABLES).await;
    fill(&world).await;
    let was = contents(&world).await;
    let target = |(index, table): (usize, &&str)| {
        let format = if index % 2 == 1 { "csv" } else { "jsonl" };
        json!({"table": table, "by": "timestamptz '2020-01-01' + id * interval '1 second'", "retention": "1 day",
               "max_fraction": 1, "allow_unindexed_fk": true, "archive": {"storage": "shelf", "format": format}})
    };
    let targets: Vec<Value> = NAMES.iter().enumerate().map(target).collect();
    job(&world, json!({ "targets": targets })).await;
    let ran = world.succeed().await;
    assert_eq!((ran.rows, detail(&ran, "/archived")), (25, &json!(25)), "{:?}", ran.report);
    assert!(contents(&world).await.iter().all(String::is_empty));
    let back = brought_back(&world, &[]).await;
    assert_eq!(back.iter().map(|(_, rows)| rows).sum::<u64>(), 25);
    assert_eq!(contents(&world).await, was);
}

#[tokio::test]
async fn a_run_that_is_lost_between_batches_goes_on() {
    let world = log(params()).await;
    let was = world.rows("log").await;
    let lost = world.occurrence().kill_after_batches(3).run().await.unwrap();
    assert_eq!(lost.state, "running");
    let gone = 40 - number(&world, "SELECT count(*) FROM log").await;
    assert!((1..30).contains(&gone), "{gone}");
    let ran = world.succeed().await;
    assert_eq!((ran.attempt, ran.rows), (2, 30 - gone));
    log_is_whole(&world, &was, 30).await;
}
