//! The kind `backup`, with a folder: what comes back, what is never presented, what is refused.

use serde_json::{Value, json};
use sexton::kind::Options;

use crate::{
    backup_support::{World, files, folder_of},
    purge_support::detail,
};

pub const TABLES: &str = include_str!("backup_tables.sql");
const ROWS: &str = include_str!("backup_rows.sql");
pub const NAMES: [&str; 6] =
    ["app.shapes", "app.texts", "app.lines", "app.documents", "app.times", "app.numbers"];

/// The six tables as sets, CSV and JSON lines by turns; `shapes` comes before `numbers`, which it refers to.
pub fn sets() -> Value {
    let set = |(index, table): (usize, &&str)| json!({ "table": table, "format": if index % 2 == 1 { "csv" } else { "jsonl" } });
    NAMES.iter().enumerate().map(set).collect()
}

/// A database with the six tables and their rows, whose own settings write values in odd ways.
pub async fn fill(world: &World) {
    world.db.execute(ROWS).await;
    let name: String = world.db.get("SELECT current_database()::text", &[]).await;
    for setting in [
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'iso_8601'",
        "bytea_output = 'escape'",
        "TimeZone = 'Asia/Tokyo'",
        "extra_float_digits = -5",
    ] {
        world.db.execute(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
}

/// Everything that the tables hold, as text.
pub async fn contents(world: &World) -> Vec<String> {
    let mut contents = Vec::new();
    for table in NAMES {
        contents.push(world.rows(table).await);
    }
    contents
}

#[tokio::test]
async fn six_sets_come_back_identical_in_a_new_deployment() {
    let world = World::new(TABLES).await;
    fill(&world).await;
    world.job(sets(), Value::Null).await;
    let ran = world.succeed().await;
    assert_eq!(detail(&ran, "/rows"), &json!(25), "{:?}", ran.report);
    for file in files(&world.shelf()) {
        assert!(!file.contains([':', '+']), "{file}");
    }

    let other = world.elsewhere(TABLES).await;
    other.db.execute("DROP SCHEMA sexton CASCADE").await;
    let verified: Value = serde_json::from_str(&other.restored(&["--verify", "--json"]).await).unwrap();
    assert_eq!(verified[0]["good"], json!(true), "{verified}");
    let planned = other.restored(&["--dry-run"]).await;
    assert!(planned.contains("Would restore"), "{planned}");
    assert_eq!(other.rows("app.texts").await, "", "a dry run writes nothing");
    let told = other.restored(&[]).await;
    assert!(told.contains(&ran.run_id.to_string()), "{told}");
    assert_eq!(contents(&other).await, contents(&world).await);
    assert!(world.rows("app.documents").await.contains("(2,null,null,{},)"), "jsonb's null is not NULL");

    // Identity and serial columns go on after what came back.
    for (table, next) in [("numbers", 5_i64), ("texts", 6), ("lines", 6)] {
        let sql = format!("INSERT INTO app.{table} DEFAULT VALUES RETURNING id::bigint");
        assert_eq!(other.db.get::<i64>(&sql, &[]).await, next, "{table}");
    }
}

#[tokio::test]
async fn all_sets_are_of_one_snapshot() {
    let world = World::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE wait (id int PRIMARY KEY);
         INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)",
    )
    .await;
    world.job(json!([{"table": "a"}, {"table": "wait"}, {"table": "b"}]), Value::Null).await;
    let mut blocker = world.db.session().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE wait IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let run = tokio::spawn(world.occurrence().run());
    waits_for_lock(&world).await;
    world.db.execute("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2)").await;
    lock.rollback().await.unwrap();
    let ran = run.await.unwrap().unwrap();
    assert_eq!(ran.state, "succeeded", "{:?}", ran.error);
    let rows: Vec<&Value> =
        (0..3).map(|set| detail(&ran, ["/sets/0/rows", "/sets/1/rows", "/sets/2/rows"][set])).collect();
    assert_eq!(rows, [1, 0, 1]);
}

async fn waits_for_lock(world: &World) {
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name LIKE 'sexton/read/%' AND wait_event_type = 'Lock')";
    world.db.until("the export waits", waits, &[]).await;
}

#[tokio::test]
async fn a_killed_backup_is_never_presented_and_its_debris_goes() {
    let world = World::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE wait (id int PRIMARY KEY); INSERT INTO a VALUES (1)",
    )
    .await;
    world.job(json!([{"table": "a"}, {"table": "wait"}]), Value::Null).await;
    let mut blocker = world.db.session().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE wait IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let run = tokio::spawn(world.occurrence().run());
    waits_for_lock(&world).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name LIKE 'sexton/read/%')";
    world.db.until("its COPY is cancelled", gone, &[]).await;
    lock.rollback().await.unwrap();
    let left = files(&world.shelf());
    assert!(left.iter().any(|file| file.ends_with("a.jsonl.zst")), "the first set was written: {left:?}");
    assert_eq!(world.listed().await, Vec::<Value>::new());
    let nothing = world.not_restored(&[], 2).await;
    assert!(nothing.contains("there is no backup"), "{nothing}");
    // A process that is killed cannot take away what it was writing to, as the task above did.
    let begun = left.iter().find(|file| file.ends_with("begun.json")).expect("the folder was begun");
    let staged = world.shelf().join(begun.replace("begun.json", "wait.jsonl.zst#1"));
    std::fs::write(&staged, "half of a set").unwrap();

    let ran = world.succeed().await;
    assert_eq!(ran.attempt, 2);
    let listed = world.listed().await;
    assert_eq!((listed.len(), &listed[0]["backup"]), (1, &json!(ran.run_id)));
    assert_eq!(detail(&ran, "/removed/half_written").as_array().map(Vec::len), Some(1));
    let debris: Vec<String> =
        files(&world.shelf()).into_iter().filter(|file| !file.contains(folder_of(&ran.report))).collect();
    assert_eq!(debris.len(), 1, "only the mark of the abandoned folder is left: {debris:?}");
    assert!(debris[0].ends_with("manifest.json"), "{debris:?}");
}

#[tokio::test]
async fn a_cancelled_backup_stops_in_the_middle_of_a_set() {
    let world =
        World::new("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE wait (id int PRIMARY KEY)").await;
    world.job(json!([{"table": "a"}, {"table": "wait"}]), Value::Null).await;
    let mut blocker = world.db.session().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE wait IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let run = tokio::spawn(world.occurrence().run());
    waits_for_lock(&world).await;
    world.db.verb("cancel", "nightly").await;
    // The next ping tells it, while the lock is still there.
    let ran = run.await.unwrap().unwrap();
    assert_eq!(ran.state, "cancelled", "{:?}", ran.error);
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                AND application_name LIKE 'sexton/read/%')";
    world.db.until("its COPY is cancelled", gone, &[]).await;
    assert_eq!(world.listed().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_zombie_finds_its_manifest_taken() {
    use sexton::outside::{
        backup::{Manifest, Shelf, publish},
        storage::Put,
    };
    let world = World::new("CREATE TABLE a (id int PRIMARY KEY)").await;
    world.job(json!([{"table": "a"}]), Value::Null).await;
    let lost = world.occurrence().kill_after_batches(0).run().await.unwrap();
    assert_eq!(lost.state, "running", "it was lost before the fence");
    let ran = world.succeed().await;
    // The lost one comes back to life behind the fence, and writes its manifest.
    let storage = world.storage();
    let (mut backups, _) = Shelf::of(&storage, "", None).await.unwrap().backups().await.unwrap();
    let manifest = Manifest { run_id: lost.run_id, ..backups.remove(0).manifest };
    let abandoned = files(&world.shelf()).into_iter().find(|file| !file.contains(folder_of(&ran.report)));
    let abandoned = abandoned.unwrap();
    let folder = abandoned.strip_suffix("/manifest.json").unwrap();
    assert_eq!(publish(&storage, folder, &manifest).await.unwrap(), Put::Present);
    assert_eq!(world.listed().await.len(), 1);
    // Negative control: without the mark it would have been presented, whose objects are gone.
    std::fs::remove_file(world.shelf().join(&abandoned)).unwrap();
    assert_eq!(publish(&storage, folder, &manifest).await.unwrap(), Put::Created);
    assert_eq!(world.listed().await.len(), 2);
}

#[tokio::test]
async fn what_was_published_is_not_written_again() {
    let world = World::new("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)").await;
    world.job(json!([{"table": "a"}]), json!({"last": 1})).await;
    // Lost between the manifest and the word about it: the backup is good, and a second one is made for the occurrence.
    let lost = world.occurrence().kill_after_batches(1).run().await.unwrap();
    assert_eq!(lost.state, "running");
    assert_eq!(world.listed().await[0]["backup"], json!(lost.run_id));
    let ran = world.succeed().await;
    assert_eq!((ran.attempt, detail(&ran, "/backup")), (2, &json!(ran.run_id)));
    let listed = world.listed().await;
    assert_eq!((listed.len(), &listed[0]["backup"]), (1, &json!(ran.run_id)), "{:?}", ran.report);
}

#[tokio::test]
async fn backups_that_no_rule_keeps_go_and_the_newest_whole_one_never() {
    use sexton::outside::backup::{Manifest, Shelf, begin, folder, publish};
    let world = World::new("CREATE TABLE a (id int PRIMARY KEY)").await;
    world.job(json!([{"table": "a"}]), json!({"monthly": 2})).await;
    let ran = world.succeed().await;
    let storage = world.storage();
    let (backups, _) = Shelf::of(&storage, "", None).await.unwrap().backups().await.unwrap();
    let template = backups[0].manifest.clone();
    for (index, day) in ["2020-01-31", "2020-01-01", "2019-12-31", "2019-11-30"].iter().enumerate() {
        let at = format!("{day}T03:00:00Z").parse().unwrap();
        let manifest = Manifest {
            taken_at: at,
            occurrence: at,
            token: format!("1.{index}"),
            sets: Vec::new(),
            ..template.clone()
        };
        let path = folder("", "nightly", at, &manifest.token);
        begin(&storage, &path, manifest.install_id, manifest.run_id).await.unwrap();
        let _ = publish(&storage, &path, &manifest).await.unwrap();
    }
    // One of another installation is nobody's to remove.
    let at = "2018-01-01T00:00:00Z".parse().unwrap();
    let foreign = Manifest {
        install_id: uuid::Uuid::from_u128(7),
        taken_at: at,
        occurrence: at,
        sets: Vec::new(),
        ..template
    };
    let _ = publish(&storage, &folder("", "nightly", at, "1.1"), &foreign).await.unwrap();

    let options = Options { dry_run: Some(true), ..Options::default() };
    let dry = world.occurrence().options(options).run().await.unwrap();
    assert_eq!(detail(&dry, "/would_remove/backups").as_array().map(Vec::len), Some(3), "{dry:?}");
    assert_eq!(detail(&dry, "/would_write/sets/0/rows"), &json!(0));
    assert_eq!(world.listed().await.len(), 6, "a dry run removes nothing");

    // This run's, and the newest of January 2020; the first run's is of this month too.
    let now = world.succeed().await;
    let taken = |listed: &[Value]| {
        listed.iter().map(|backup| backup["taken_at"].as_str().unwrap()[..10].to_owned()).collect::<Vec<_>>()
    };
    let listed = world.listed().await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(listed[0]["backup"], json!(now.run_id));
    assert_eq!(taken(&listed)[1..], ["2020-01-31", "2018-01-01"]);
    assert_ne!(ran.run_id, now.run_id);
}

#[tokio::test]
async fn what_cannot_be_backed_up_is_refused_with_its_place() {
    let world = World::new(
        "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE TABLE parent (id int PRIMARY KEY);
        CREATE TABLE child () INHERITS (parent); CREATE VIEW v AS SELECT * FROM t",
    )
    .await;
    for (sets, part) in [
        (json!([{"table": "nope"}]), "params.sets[0].table: there is no table nope"),
        (json!([{"table": "v"}]), "public.v is no table"),
        (json!([{"table": "parent"}]), "inherit from public.parent"),
        (json!([{"table": "t", "where": "nope = 1"}]), "params.sets[0].where"),
        (json!([{"table": "t", "where": "true) OR (true"}]), "params.sets[0].where"),
        (json!([{"name": "q", "query": "SELECT nope FROM t"}]), "params.sets[0].query"),
        (json!([{"name": "q", "query": "DELETE FROM t"}]), "params.sets[0].query"),
    ] {
        world.job(sets, Value::Null).await;
        let ran = world.occurrence().run().await.unwrap();
        assert_eq!(ran.state, "refused", "{:?}", ran.error);
        let said = ran.error.unwrap_or_default();
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
    assert_eq!(files(&world.shelf()), Vec::<String>::new());
}

#[tokio::test]
async fn a_job_reads_no_more_than_its_editor_may() {
    let world =
        World::new("CREATE TABLE secret (id int PRIMARY KEY); CREATE TABLE mine (id int PRIMARY KEY)").await;
    let role: String = world.db.get("SELECT 'author_' || current_database()", &[]).await;
    world
        .db
        .execute(&format!("CREATE ROLE {role} LOGIN IN ROLE sexton_author; GRANT SELECT ON mine TO {role}"))
        .await;
    let author = world.db.session_as(&role).await;
    for (sets, may) in [
        (json!([{"table": "mine"}]), true),
        (json!([{"name": "q", "query": "SELECT * FROM mine"}]), true),
        (json!([{"table": "secret"}]), false),
        (
            json!([{"name": "q", "query": "SELECT m.id FROM mine m WHERE id IN (SELECT id FROM secret)"}]),
            false,
        ),
    ] {
        let params = json!({ "storage": "shelf", "sets": sets });
        let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('nightly', 'backup', $1)
                   ON CONFLICT (name) DO UPDATE SET params = excluded.params";
        author.execute(sql, &[&params]).await.unwrap();
        let ran = world.occurrence().run().await.unwrap();
        assert_eq!(ran.state, if may { "succeeded" } else { "refused" }, "{params}: {:?}", ran.error);
        assert!(ran.error.as_ref().is_none_or(|error| error.contains("may not read")), "{:?}", ran.error);
    }
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_an_error_and_not_missing() {
    let world =
        World::new("CREATE TABLE t (id int PRIMARY KEY, tenant int); INSERT INTO t VALUES (1, 1), (2, 2)")
            .await;
    let role: String = world.db.get("SELECT 'runner_' || current_database()", &[]).await;
    world
        .db
        .execute(&format!(
            "CREATE ROLE {role} LOGIN IN ROLE sexton_runner; GRANT SELECT ON t TO {role};
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (tenant = 1)"
        ))
        .await;
    world.job(json!([{"table": "t"}]), Value::Null).await;
    world.db.planned("nightly").await;
    world.db.verb("run_now", "nightly").await;
    let mut config = world.db.config.clone();
    config.user(&role);
    let registry =
        sexton::Registry::with_builtins_and(&sexton::outside::Outside::new(world.contents.clone()));
    let ran = sexton::testing::Occurrence::of("nightly", config).registry(registry).run().await.unwrap();
    assert_eq!(ran.state, "failed");
    assert!(
        ran.error.as_deref().is_some_and(|error| error.contains("row-level security")),
        "{:?}",
        ran.error
    );
    assert_eq!(world.listed().await.len(), 0);
}
