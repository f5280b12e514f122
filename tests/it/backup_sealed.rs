//! Encrypted backups: by which key they come back, and what is told of those that were altered.

use serde_json::{Value, json};
use sexton::testing::Ran;

use crate::{
    backup_support::{World, files},
    purge_support::detail,
};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)";
const ROWS: &str = "INSERT INTO t SELECT n, md5(n::text) FROM generate_series(1, 12000) n";

/// A folder with a key for each of `a`, `b` and `c`, and the job `nightly`.
async fn world() -> World {
    let world = World::new(TABLE).await;
    for (index, name) in ["a", "b", "c"].iter().enumerate() {
        std::fs::write(world.folder.path().join(name), format!("{index:02x}").repeat(32)).unwrap();
    }
    world.db.execute(ROWS).await;
    world.job(json!([{"table": "t"}]), Value::Null).await;
    world
}

/// Has the storage encrypt with one of the keys, and know others.
fn encrypt(world: &mut World, with: &str, former: &[&str]) {
    let secrets = ["a", "b", "c"].map(|name| {
        let file = world.folder.path().join(name);
        format!("[secrets.{name}]\nfile = {file:?}\n")
    });
    let former: Vec<String> = former.iter().map(|name| format!("secret:{name}")).collect();
    let keys = format!("encrypt_with = \"secret:{with}\"\ndecrypt_with = {former:?}\n");
    world.know(&format!("{keys}{}", secrets.concat()));
}

/// The path of an object of a backup.
fn object(world: &World, ran: &Ran, name: &str) -> std::path::PathBuf {
    world.shelf().join(detail(ran, "/folder").as_str().unwrap()).join(name)
}

#[tokio::test]
async fn an_encrypted_backup_comes_back_by_its_key_alone() {
    let mut world = world().await;
    encrypt(&mut world, "a", &[]);
    let ran = world.succeed().await;
    let before = world.rows("t").await;
    let stored = std::fs::read(object(&world, &ran, "t.jsonl.zst")).unwrap();
    assert!(stored.starts_with(b"sexton sealed 1\n"), "{:?}", &stored[..16]);
    let packed = b"\x28\xb5\x2f\xfd";
    assert!(!stored.windows(4).any(|bytes| bytes == packed), "the packed rows are not to be seen");
    let verified: Value = serde_json::from_str(&world.restored(&["--verify", "--json"]).await).unwrap();
    assert_eq!(verified[0]["good"], json!(true), "{verified}");
    world.db.execute("TRUNCATE t").await;
    world.restored(&[]).await;
    assert_eq!(world.rows("t").await, before);

    world.db.execute("TRUNCATE t").await;
    encrypt(&mut world, "b", &["c"]);
    let listed = world.listed().await;
    assert_eq!(listed[0]["key"], *detail(&ran, "/key"), "the key's id is told without the key");
    let said = world.not_restored(&[], 1).await;
    let id = detail(&ran, "/key").as_str().unwrap();
    assert!(
        said.contains(&format!("encrypted with the key {id}")) && said.contains("decrypt_with"),
        "{said}"
    );
    let output = world.restore(&["--verify"]).await;
    assert_eq!(output.status.code(), Some(1), "without the key nothing is known to be good");
    assert_eq!(world.rows("t").await, "");
}

#[tokio::test]
async fn a_key_may_be_replaced_and_what_it_encrypted_stays_readable_while_it_is_known() {
    let mut world = world().await;
    encrypt(&mut world, "a", &[]);
    let old = world.succeed().await;
    encrypt(&mut world, "b", &["a"]);
    let new = world.succeed().await;
    assert_ne!(detail(&old, "/key"), detail(&new, "/key"));
    for ran in [&old, &new] {
        world.db.execute("TRUNCATE t").await;
        world.restored(&[&ran.run_id.to_string()]).await;
        assert_eq!(world.db.get::<i64>("SELECT count(*) FROM t", &[]).await, 12000);
    }
    encrypt(&mut world, "b", &[]);
    world.db.execute("TRUNCATE t").await;
    world.not_restored(&[&old.run_id.to_string()], 1).await;
    world.restored(&[&new.run_id.to_string()]).await;
}

#[tokio::test]
async fn what_was_altered_is_told_and_nothing_of_it_restored() {
    let mut world = world().await;
    encrypt(&mut world, "a", &[]);
    let ran = world.succeed().await;
    world.db.execute("TRUNCATE t").await;
    let path = object(&world, &ran, "t.jsonl.zst");
    let good = std::fs::read(&path).unwrap();
    // Cut off between two chunks, and one bit of the last one.
    assert!(good.len() > 2 * 65_552, "it has several chunks: {}", good.len());
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [&good[..40 + 65_552], &flipped] {
        std::fs::write(&path, bad).unwrap();
        let output = world.restore(&["--verify", "--json"]).await;
        assert_eq!(output.status.code(), Some(1));
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problem = verified[0]["sets"][0]["problem"].as_str().unwrap_or_default();
        assert!(problem.contains("altered or cut off"), "{verified}");
        world.not_restored(&[&ran.run_id.to_string()], 1).await;
    }
    std::fs::write(&path, &good).unwrap();

    // The manifest has the sums of the objects; whoever alters both needs the key for its seal.
    let manifest = object(&world, &ran, "manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let altered = text.replace("\"rows\": 12000", "\"rows\": 11999");
    assert_ne!(altered, text);
    std::fs::write(&manifest, &altered).unwrap();
    assert_eq!(world.listed().await[0]["state"], json!("unreadable"));
    let said = world.not_restored(&[], 2).await;
    assert!(said.contains("there is no backup"), "{said}");
    assert_eq!(world.restore(&["--verify"]).await.status.code(), Some(1));
    // Negative control: without a seal nobody could tell.
    let start = altered.find("  \"encryption\"").unwrap();
    let end = start + altered[start..].find("},\n").unwrap() + 3;
    std::fs::write(&manifest, format!("{}{}", &altered[..start], &altered[end..])).unwrap();
    assert_eq!(world.listed().await[0]["state"], json!("whole"));
    let said = world.not_restored(&[], 3).await;
    assert!(said.contains("not encrypted") && said.contains("--unencrypted"), "{said}");
    assert_eq!(world.rows("t").await, "");
}

#[tokio::test]
async fn rows_that_a_purge_keeps_are_encrypted_too_and_their_receipts_sealed() {
    let mut world = world().await;
    world.db.execute("ALTER TABLE t ADD at timestamptz DEFAULT now() - interval '1 year'").await;
    let params = json!({"table": "t", "by": "at", "retention": "1 day", "max_fraction": 1, "where": "id <= 500",
                        "archive": {"storage": "shelf"}});
    let sql = "UPDATE sexton.job SET kind = 'purge', params = $1 WHERE name = 'nightly'";
    world.db.client.execute(sql, &[&params]).await.unwrap();
    world.db.verb("arm", "nightly").await;
    let before = world.rows("t").await;
    encrypt(&mut world, "a", &[]);
    world.succeed().await;
    let paths: Vec<_> = files(&world.shelf()).into_iter().map(|file| world.shelf().join(file)).collect();
    let (receipts, objects): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| path.extension().is_some_and(|ending| ending == "json"));
    assert!(!objects.is_empty() && receipts.len() == objects.len());
    for object in objects {
        assert!(std::fs::read(object).unwrap().starts_with(b"sexton sealed 1\n"));
    }

    encrypt(&mut world, "b", &[]);
    let said = world.not_restored(&["--archive"], 1).await;
    assert!(said.contains("encrypted with the key"), "{said}");
    encrypt(&mut world, "b", &["a"]);
    let text = std::fs::read_to_string(&receipts[0]).unwrap();
    let altered = text.replace("\"revision\": ", "\"revision\": 1");
    assert_ne!(altered, text);
    std::fs::write(&receipts[0], &altered).unwrap();
    let said = world.not_restored(&["--archive"], 1).await;
    assert!(said.contains("it was altered"), "{said}");
    // Negative control: without a seal nobody could tell.
    let start = altered.find("  \"encryption\"").unwrap();
    let end = start + altered[start..].find("},\n").unwrap() + 3;
    std::fs::write(&receipts[0], format!("{}{}", &altered[..start], &altered[end..])).unwrap();
    let said = world.not_restored(&["--archive"], 3).await;
    assert!(said.contains("not encrypted") && said.contains("--unencrypted"), "{said}");
    world.restored(&["--archive", "--unencrypted", "--dry-run"]).await;

    std::fs::write(&receipts[0], &text).unwrap();
    world.restored(&["--archive"]).await;
    assert_eq!(world.rows("t").await, before);
}

#[tokio::test]
async fn backups_from_before_are_restored_on_demand() {
    let mut world = world().await;
    world.succeed().await;
    let before = world.rows("t").await;
    world.db.execute("TRUNCATE t").await;
    encrypt(&mut world, "a", &[]);
    let said = world.not_restored(&[], 3).await;
    assert!(said.contains("--unencrypted"), "{said}");
    world.restored(&["--unencrypted"]).await;
    assert_eq!(world.rows("t").await, before);
}

#[tokio::test]
async fn a_secret_that_is_no_key_is_told_before_anything_is_written() {
    let mut world = world().await;
    std::fs::write(world.folder.path().join("a"), "correct horse battery staple").unwrap();
    encrypt(&mut world, "a", &[]);
    let ran = world.occurrence().run().await.unwrap();
    assert_eq!(ran.state, "failed");
    let said = ran.error.unwrap_or_default();
    assert!(said.contains("secret:a is no key") && !said.contains("horse"), "{said}");
    assert_eq!(files(&world.shelf()), Vec::<String>::new());
}
