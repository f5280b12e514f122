//! A replica that is killed in the middle of a backup, by SIGKILL, at each file that comes to be.

use serde_json::{Value, json};

use crate::{
    backup_support::{World, files},
    support::Process,
};

const TABLES: &str =
    "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (LIKE a); CREATE TABLE c (LIKE a);
    INSERT INTO a SELECT n, md5(n::text) FROM generate_series(1, 30000) n;
    INSERT INTO b SELECT * FROM a; INSERT INTO c SELECT * FROM a";

/// The files of a backup: the beginning, three sets, the manifest.
const FILES: usize = 5;

#[tokio::test]
async fn whenever_a_replica_is_killed_there_is_a_good_backup_or_none() {
    let (mut none, mut some) = (0, 0);
    for killed_at in 1..=FILES {
        let world = World::new(TABLES).await;
        world.job(json!([{"table": "a"}, {"table": "b"}, {"table": "c"}]), Value::Null).await;
        world.db.planned("nightly").await;
        world.db.verb("run_now", "nightly").await;
        let local = world.folder.path().join("local.toml");
        let args = ["--config", local.to_str().unwrap()];
        let process = Process::with_args(&world.db, "killed", &args);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        // What is being written has another name first.
        let reached = |files: Vec<String>| match killed_at {
            FILES => files.iter().any(|file| file.ends_with("manifest.json")),
            _ => files.len() >= killed_at,
        };
        while !reached(files(&world.shelf())) {
            assert!(tokio::time::Instant::now() < deadline, "no {killed_at} files:\n{}", process.log());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(process);
        let left = files(&world.shelf());
        match good(&world).await {
            0 => none += 1,
            1 => some += 1,
            more => panic!("{more} backups of one run: {left:?}"),
        }
        let second = Process::with_args(&world.db, "second", &args);
        world
            .db
            .until("the next attempt succeeds", "SELECT bool_or(state = 'succeeded') FROM sexton.run", &[])
            .await;
        assert!(good(&world).await > 0, "{}", second.log());
        let objects = |files: &[String]| files.iter().filter(|file| file.contains(".zst")).count();
        let now = files(&world.shelf());
        let backups = now.iter().filter(|file| file.ends_with("begun.json")).count();
        assert_eq!(objects(&now), 3 * backups, "what was half written is gone: {left:?}, then {now:?}");
    }
    assert!(none > 0 && some > 0, "{none} times before its manifest, {some} times after it");
}

/// How many backups are presented; each must be what its manifest says.
async fn good(world: &World) -> usize {
    let verified: Vec<Value> =
        serde_json::from_str(&world.restored(&["--verify", "--json"]).await).expect("a list");
    assert!(verified.iter().all(|backup| backup["good"] == json!(true)), "{verified:?}");
    verified.len()
}
