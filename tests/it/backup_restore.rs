//! `sexton restore`: what of a backup is not restored, and why; where it goes, and what becomes of rows that are there.

use serde_json::{Value, json};

use crate::backup_support::{World, folder_of};

#[tokio::test]
async fn rot_is_found_and_nothing_of_it_restored() {
    let world = World::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
        INSERT INTO a SELECT generate_series(1, 1000); INSERT INTO b VALUES (1)",
    )
    .await;
    world.job(json!([{"table": "b"}, {"table": "a"}]), Value::Null).await;
    let ran = world.succeed().await;
    let object = world.shelf().join(folder_of(&ran.report)).join("a.jsonl.zst");
    let good = std::fs::read(&object).unwrap();
    world.db.execute("TRUNCATE a, b").await;
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&object, &bad).unwrap();
    let output = world.restore(&["--verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&verified[0]["sets"][0]["problem"], verified[0]["good"].as_bool()),
        (&Value::Null, Some(false))
    );
    assert!(verified[0]["sets"][1]["problem"].is_string(), "{verified}");
    let said = world.not_restored(&[], 1).await;
    assert!(said.contains("set a: it is not what was written"), "{said}");
    assert_eq!((world.rows("a").await, world.rows("b").await), (String::new(), String::new()));
    // Half of an object is no backup at all.
    std::fs::write(&object, &good[..middle]).unwrap();
    assert_eq!(world.listed().await[0]["state"], json!("lacks a"));
    let said = world.not_restored(&[&ran.run_id.to_string()], 1).await;
    assert!(said.contains("missing"), "{said}");
    std::fs::write(&object, &good).unwrap();
    world.restored(&[]).await;
    assert_eq!(world.db.get::<i64>("SELECT count(*) FROM a", &[]).await, 1000);
}

#[tokio::test]
async fn another_shape_is_refused_and_a_schema_or_file_takes_it() {
    let world = World::new(
        "CREATE SCHEMA old; CREATE TABLE t (id int PRIMARY KEY, a numeric(10,2), b text);
        CREATE TABLE old.t (LIKE t INCLUDING ALL); INSERT INTO t VALUES (1, 1.5, 'x')",
    )
    .await;
    world.job(json!([{"table": "t"}]), Value::Null).await;
    world.succeed().await;
    let before = world.rows("t").await;
    world.db.execute("ALTER TABLE t ALTER a TYPE int, DROP b, ADD c text; TRUNCATE t").await;
    let said = world.not_restored(&[], 3).await;
    for part in [
        "column a is numeric(10,2) in the backup, integer in the table",
        "column b (text) is in the backup alone",
        "column c (text) is in the table alone",
        "--into",
    ] {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
    assert_eq!(world.rows("t").await, "");
    world.restored(&["--schema", "old"]).await;
    assert_eq!(world.rows("old.t").await, before);
    world.db.execute("CREATE TABLE again (LIKE old.t)").await;
    world.restored(&["--set", "t", "--into", "again"]).await;
    assert_eq!(world.rows("again").await, before);
    let file = world.folder.path().join("t.jsonl");
    world.restored(&["--file", file.to_str().unwrap()]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"id\":1,\"a\":1.50,\"b\":\"x\"}\n");
    let said = world.not_restored(&["--file", file.to_str().unwrap()], 3).await;
    assert!(said.contains("is there already"), "{said}");
    let said = world.not_restored(&["--schema", "nowhere"], 3).await;
    assert!(said.contains("there is no table nowhere.t"), "{said}");
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_restore_would() {
    let world = World::new(
        "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE one.t (id int PRIMARY KEY); CREATE TABLE two.t (LIKE one.t);
        CREATE TABLE t (LIKE one.t); INSERT INTO one.t VALUES (1), (2); INSERT INTO two.t VALUES (3)",
    )
    .await;
    world.job(json!([{"table": "one.t"}, {"table": "two.t"}]), Value::Null).await;
    world.succeed().await;
    for args in [&["--schema", "public", "--dry-run"][..], &["--schema", "public"]] {
        let said = world.not_restored(args, 3).await;
        assert!(said.contains("sets one.t and two.t are of two tables") && said.contains("--into"), "{said}");
    }
    assert_eq!(world.rows("t").await, "");
    let local = world.folder.path().join("local.toml");
    let args = ["--set", "one.t", "--file", local.to_str().unwrap(), "--dry-run"];
    assert!(world.not_restored(&args, 3).await.contains("is there already"));

    // Parts of one table go back into it.
    let parts =
        json!([{"table": "one.t", "where": "id = 1"}, {"name": "rest", "table": "one.t", "where": "id > 1"}]);
    world.job(parts, Value::Null).await;
    world.succeed().await;
    world.restored(&["--schema", "public", "--dry-run"]).await;
    world.restored(&["--schema", "public"]).await;
    assert_eq!(world.rows("t").await, "(1)\n(2)");
}

#[tokio::test]
async fn rows_that_are_there_stop_a_restore_or_stay_or_are_replaced() {
    let world = World::new(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
        INSERT INTO t (v) VALUES ('one'), ('two'), ('three')",
    )
    .await;
    world.job(json!([{"table": "t"}]), Value::Null).await;
    world.succeed().await;
    world.db.execute("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'new' WHERE id = 2").await;
    let said = world.not_restored(&[], 3).await;
    assert!(said.contains("--on-conflict"), "{said}");
    assert_eq!(world.rows("t").await, "(2,new)\n(3,three)");
    let told: Value =
        serde_json::from_str(&world.restored(&["--on-conflict", "skip", "--json"]).await).unwrap();
    assert_eq!((&told["sets"][0]["rows"], &told["sets"][0]["written"]), (&json!(3), &json!(1)));
    assert_eq!(world.rows("t").await, "(1,one)\n(2,new)\n(3,three)");
    world.restored(&["--on-conflict", "replace"]).await;
    assert_eq!(world.rows("t").await, "(1,one)\n(2,two)\n(3,three)");
}
