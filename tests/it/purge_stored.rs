//! Purges that keep rows in a storage, and `sexton restore --archive`: every row is in its table or comes back, and once.

#[cfg(feature = "failpoints")]
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sexton::{kind::Options, testing::Ran};

#[cfg(feature = "s3-server")]
use crate::backup_s3::{known, local, serve};
use crate::support::Process;
use crate::{
    backup::{NAMES, TABLES, contents, fill},
    backup_support::{World, files},
    purge_support::detail,
};

/// 40 rows, an hour apart.
const LOG: &str = "CREATE TABLE log (id int PRIMARY KEY, at timestamptz NOT NULL, \"What?\" text, twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO log SELECT i, now() - i * interval '1 hour', nullif('w' || i % 3, 'w0') FROM generate_series(1, 40) i; CREATE INDEX ON log (at);";

pub fn params() -> Value {
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
pub async fn log(params: Value) -> World {
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
pub async fn log_is_whole(world: &World, was: &str, gone: u64) {
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
        assert_eq!(
            (stored(&ran, "rows"), stored(&ran, "objects")),
            (30, of(&format!("public.log.{format}.zst")))
        );
        assert_eq!(
            (of(".json"), stored(&ran, "objects") + of(".json")),
            (stored(&ran, "objects"), there.len() as u64)
        );
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

/// A receipt says that rows are gone: so they must be, whatever becomes of the server.
#[tokio::test]
async fn its_batches_wait_for_the_disk() {
    let world = World::new(&format!(
        "{LOG}
         CREATE TABLE seen (waits text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
           INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER see AFTER DELETE ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();"
    ))
    .await;
    let seen = "SELECT string_agg(DISTINCT waits, ', ') || count(*) FROM seen";
    let mut by_workers = params();
    (by_workers["workers"], by_workers["pacing"]) = (2.into(), "full".into());
    for params in [params(), by_workers] {
        job(&world, params).await;
        world.succeed().await;
        assert_eq!(world.db.get::<String>(seen, &[]).await, "on30");
        world.db.execute("TRUNCATE log, seen; INSERT INTO log (id, at) SELECT i, now() - i * interval '1 hour' FROM generate_series(1, 40) i").await;
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

/// A process that dies at a point of the second batch leaves what can be told from the database at once, and from the
/// storage alone after the next run.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_replica_that_is_killed_around_the_commit_loses_and_repeats_nothing() {
    // The first time is that of the cursor before all batches.
    for (point, certain) in [("batch.fence@3", 7), ("batch.committed@3", 14)] {
        let world = log(params()).await;
        let was = world.rows("log").await;
        let (fault, local) = (format!("{point}=abort"), world.folder.path().join("local.toml"));
        let environment = [("SEXTON_FAILPOINTS", fault.as_str()), ("SEXTON_CONFIG", local.to_str().unwrap())];
        let mut doomed = Process::with(&world.db, "doomed", &environment);
        world.db.until_job("nightly", "planned").await;
        world.db.verb("run_now", "nightly").await;
        assert!(!doomed.ended().await.success());
        assert_eq!(number(&world, "SELECT 40 - count(*) FROM log").await, certain, "{point}");
        let listed: Value =
            serde_json::from_str(&world.restored(&["--archive", "--list", "--json"]).await).unwrap();
        assert_eq!(
            (&listed["runs"][0]["batches"], listed["loose"].as_array().unwrap().len()),
            (&json!(1), 1),
            "{point}"
        );
        // Whoever took all objects would bring 14 rows back in both cases; the database tells them apart.
        let objects = files(&world.shelf()).iter().filter(|file| file.ends_with(".zst")).count();
        assert_eq!(objects, 2, "{point}");
        log_is_whole(&world, &was, certain.unsigned_abs()).await;
        // Those rows are behind the cursor; the run goes on from there.
        let ran = world.succeed().await;
        assert_eq!((ran.attempt, ran.rows), (2, 30 - certain), "{point}");
        let listed: Value =
            serde_json::from_str(&world.restored(&["--archive", "--list", "--json"]).await).unwrap();
        assert_eq!(
            listed["loose"],
            json!([]),
            "the next run puts the receipt, or removes what was never committed"
        );
        // Without the database, but for a table to take the rows.
        let other = world.elsewhere(&format!("DROP SCHEMA sexton CASCADE; {LOG} TRUNCATE log")).await;
        assert_eq!(brought_back(&other, &[]).await, [("public.log".to_owned(), 30)], "{point}");
        assert_eq!(number(&other, "SELECT count(*) FROM log WHERE id BETWEEN 11 AND 40").await, 30);
    }
}

/// A holder that freezes with its rows in the storage commits nothing when it wakes up, and what it wrote is no archive.
#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_zombie_between_the_storage_and_the_commit_adds_nothing() {
    let world = log(params()).await;
    let was = world.rows("log").await;
    let local = world.folder.path().join("local.toml");
    let environment =
        [("SEXTON_FAILPOINTS", "batch.fence@3=stop"), ("SEXTON_CONFIG", local.to_str().unwrap())];
    let zombie = Process::with(&world.db, "zombie", &environment);
    world.db.until_job("nightly", "planned").await;
    world.db.verb("run_now", "nightly").await;
    zombie.until_stopped().await;
    world.db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    let ran = world.succeed().await;
    assert_eq!((ran.attempt, ran.rows), (2, 23));
    zombie.signal(Signal::SIGCONT);
    zombie.until_logged("run.lost").await;
    drop(zombie);
    log_is_whole(&world, &was, 30).await;
}

#[tokio::test]
async fn one_offs_and_partitions_are_archived_with_their_job() {
    let world = World::new(
        "CREATE TABLE log (id int, tenant bigint, at timestamptz DEFAULT '2026-01-01', PRIMARY KEY (id, tenant)) PARTITION BY LIST (tenant);
         CREATE TABLE log_7 PARTITION OF log FOR VALUES IN (7); CREATE TABLE log_all PARTITION OF log DEFAULT;
         INSERT INTO log SELECT i, i % 4 + 6 FROM generate_series(1, 40) i; CREATE INDEX ON log (at);",
    )
    .await;
    let given = json!({"table": "log", "where": "tenant = :tenant", "by": "at", "retention": "1 day", "max_fraction": 1,
                       "batch": 3, "archive": {"storage": "shelf"}});
    let sql = "INSERT INTO sexton.job (name, kind, params, inputs) VALUES ('nightly', 'purge', $1, '{\"tenant\": \"bigint\"}')";
    world.db.client.execute(sql, &[&given]).await.unwrap();
    world.db.planned("nightly").await;
    world.db.verb("arm", "nightly").await;
    let was = world.rows("log").await;
    let local = world.folder.path().join("local.toml");
    let _replica = Process::with(&world.db, "one", &[("SEXTON_CONFIG", local.to_str().unwrap())]);
    world.db.until_job("nightly", "validated_revision = revision").await;
    for tenant in [6_i64, 7] {
        let sql = "SELECT sexton.submit('nightly', jsonb_build_object('tenant', $1::bigint))";
        world.db.get::<String>(sql, &[&tenant]).await;
    }
    world.db.until("both are gone", "SELECT count(*) = 20 FROM log", &[]).await;
    world
        .db
        .until("both have ended", "SELECT count(*) = 2 FROM sexton.run WHERE state = 'succeeded'", &[])
        .await;
    assert_eq!(brought_back(&world, &["--job", "nightly"]).await, [("public.log".to_owned(), 20)]);
    assert_eq!(world.rows("log").await, was);
    assert_eq!(brought_back(&world, &[]).await, [("public.log".to_owned(), 0)]);
}

#[tokio::test]
async fn what_was_tampered_with_is_refused_and_nothing_comes_back() {
    let world = log(params()).await;
    world.succeed().await;
    let there = files(&world.shelf());
    let object = world.shelf().join(there.iter().find(|file| file.ends_with(".zst")).unwrap());
    let receipt = world.shelf().join(there.iter().find(|file| file.ends_with(".json")).unwrap());
    let verify = ["--archive", "--verify"];
    assert!(world.restored(&verify).await.contains("objects, 0 of them bad"));
    let whole = std::fs::read(&object).unwrap();
    let mut bent = whole.clone();
    *bent.last_mut().unwrap() ^= 1;
    for (content, says) in
        [(bent, "it is not what was written"), (whole[..whole.len() - 1].to_vec(), "written")]
    {
        std::fs::write(&object, content).unwrap();
        let said = world.not_restored(&["--archive"], 1).await;
        assert!(said.contains(says), "{said}");
        assert_eq!(world.restore(&verify).await.status.code(), Some(1));
        assert_eq!(number(&world, "SELECT count(*) FROM log").await, 10, "{said}");
    }
    std::fs::remove_file(&object).unwrap();
    world.not_restored(&["--archive"], 1).await;
    std::fs::write(&object, &whole).unwrap();
    let good = std::fs::read_to_string(&receipt).unwrap();
    std::fs::write(&receipt, good.replace("\"seq\": 1", "\"seq\": 7")).unwrap();
    let said = world.not_restored(&["--archive"], 1).await;
    assert!(said.contains("the receipt is of another batch"), "{said}");
    std::fs::write(&receipt, &good).unwrap();
    assert_eq!(brought_back(&world, &[]).await, [("public.log".to_owned(), 30)]);
}

#[tokio::test]
async fn a_part_comes_back_by_run_by_time_and_into_another_table() {
    let world = log(params()).await;
    let first = world.succeed().await;
    let between: String = world
        .db
        .get("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", &[])
        .await;
    world.db.execute("UPDATE log SET at = at - interval '5 hours'").await;
    world.succeed().await;
    world.db.execute("CREATE TABLE other (LIKE log INCLUDING ALL)").await;
    let planned = world.restored(&["--archive", "--dry-run", "--into", "other", "--since", &between]).await;
    assert!(
        planned.contains("Would bring back") && number(&world, "SELECT count(*) FROM other").await == 0,
        "{planned}"
    );
    let other = |rows| vec![("public.log".to_owned(), rows)];
    assert_eq!(brought_back(&world, &["--into", "other", "--since", &between]).await, other(5));
    assert_eq!(brought_back(&world, &["--into", "other", "--until", &between]).await, other(30));
    assert_eq!(brought_back(&world, &["--into", "other", &first.run_id.to_string()[..8]]).await, other(0));
    let said = world.not_restored(&["--archive", "--into", "other", "--on-conflict", "fail"], 3).await;
    assert!(said.contains("duplicate key"), "{said}");
    world.db.execute("UPDATE other SET \"What?\" = 'x'").await;
    assert_eq!(brought_back(&world, &["--into", "other", "--on-conflict", "replace"]).await, other(35));
    assert_eq!(number(&world, "SELECT count(*) FROM other WHERE \"What?\" = 'x'").await, 0);
    assert!(
        world
            .not_restored(&["--archive", "--set", "public.nothing"], 2)
            .await
            .contains("nothing in the archive")
    );
}

#[tokio::test]
async fn a_table_without_a_key_gets_each_of_equal_rows_and_none_twice() {
    let world = World::new(
        "CREATE TABLE log (id int, at timestamptz); INSERT INTO log SELECT i % 5, timestamptz '2026-01-01' FROM generate_series(1, 20) i;",
    )
    .await;
    job(&world, json!({"walk": "heap", "batch": 3, "table": "log", "by": "at", "retention": "1 hour", "max_fraction": 1,
                       "archive": {"storage": "shelf"}})).await;
    let was = world.rows("log").await;
    assert_eq!(world.succeed().await.rows, 20);
    world.db.execute("INSERT INTO log VALUES (1, timestamptz '2026-01-01'), (NULL, NULL)").await;
    assert_eq!(brought_back(&world, &[]).await, [("public.log".to_owned(), 19)]);
    world.db.execute("DELETE FROM log WHERE id IS NULL").await;
    assert_eq!(brought_back(&world, &[]).await, [("public.log".to_owned(), 0)]);
    assert_eq!(world.rows("log").await, was);
}

#[tokio::test]
async fn rows_from_before_a_new_column_come_back_with_its_default() {
    let world = log(params()).await;
    world.succeed().await;
    assert_eq!(brought_back(&world, &["--set", "public.log"]).await, [("public.log".to_owned(), 30)]);
    world.db.execute("ALTER TABLE log ADD COLUMN more int NOT NULL DEFAULT 5; UPDATE log SET more = 6").await;
    world.succeed().await;
    world.db.execute("CREATE TABLE other (LIKE log INCLUDING ALL)").await;
    let log = |rows| ("public.log".to_owned(), rows);
    assert_eq!(brought_back(&world, &["--into", "other"]).await, [log(30), log(0)], "the youngest wins");
    assert_eq!(number(&world, "SELECT count(*) FROM other WHERE more = 6").await, 30);
    world.db.execute("TRUNCATE other; ALTER TABLE other ALTER COLUMN more DROP DEFAULT").await;
    let said = world.not_restored(&["--archive", "--into", "other"], 3).await;
    assert!(said.contains("column more (integer) is in the table alone"), "{said}");
}

#[tokio::test]
async fn whoever_may_not_read_the_rows_may_not_have_them_archived() {
    let world = World::new(LOG).await;
    world.db.execute("CREATE ROLE stored_author LOGIN; GRANT sexton_author TO stored_author; GRANT DELETE ON log TO stored_author").await;
    let author = world.db.session_as("stored_author").await;
    let sql = "INSERT INTO sexton.job (name, kind, params) VALUES ('theirs', 'purge', $1)";
    let error = author.execute(sql, &[&params()]).await.unwrap_err();
    let said = error.as_db_error().map(|error| error.message().to_owned()).unwrap_or_default();
    assert!(said.contains("params.archive: you have no SELECT right on \"log\""), "{said}");
    world.db.execute("GRANT SELECT ON log TO stored_author").await;
    author.execute(sql, &[&params()]).await.unwrap();
}

#[tokio::test]
async fn children_go_along_and_what_is_held_stays() {
    let world = World::new(&format!(
        "{LOG} CREATE TABLE parts (id int PRIMARY KEY, log int NOT NULL REFERENCES log, bytes bytea);
         CREATE INDEX ON parts (log); INSERT INTO parts SELECT i, i % 40 + 1, int4send(i) FROM generate_series(1, 80) i;"
    ))
    .await;
    let mut params = params();
    params["children"] = json!([{"table": "parts", "archive": {"storage": "shelf", "format": "csv"}}]);
    job(&world, params).await;
    world.db.execute("SELECT sexton.hold('log', 'id = 30', 'a case')").await;
    let (was, parts) = (world.rows("log").await, world.rows("parts").await);
    let ran = world.succeed().await;
    assert_eq!(
        (ran.rows, stored(&ran, "rows"), stored(&ran, "objects")),
        (29, 29 + 58, 2 * stored(&ran, "objects") / 2)
    );
    assert_eq!(detail(&ran, "/children"), &json!([{"table": "public.parts", "deleted": 58, "archived": 58}]));
    assert_eq!(number(&world, "SELECT count(*) FROM log WHERE id = 30").await, 1);
    let both = |log, parts| vec![("public.log".to_owned(), log), ("public.parts".to_owned(), parts)];
    assert_eq!(brought_back(&world, &[]).await, both(29, 58));
    assert_eq!((world.rows("log").await, world.rows("parts").await), (was, parts));
    assert_eq!(brought_back(&world, &[]).await, both(0, 0));
}

#[tokio::test]
async fn workers_keep_what_they_delete_and_a_lost_run_goes_on() {
    let world = World::new(
        "CREATE TABLE log (id int PRIMARY KEY, at timestamptz NOT NULL, wide text NOT NULL DEFAULT repeat('x', 200));
         INSERT INTO log (id, at) SELECT n, now() - interval '60 days' - n * interval '1 minute' FROM generate_series(1, 4000) n;
         CREATE INDEX ON log (at); ANALYZE log;",
    )
    .await;
    job(&world, json!({"table": "log", "by": "at", "retention": "30 days", "walk": "heap", "pacing": "full", "workers": 3,
                       "batch": 100, "max_fraction": 1, "archive": {"storage": "shelf"}})).await;
    let was = world.rows("log").await;
    let lost = world.occurrence().kill_after_batches(12).run().await.unwrap();
    assert_eq!(lost.state, "running");
    let ran = world.succeed().await;
    assert_eq!((ran.attempt, detail(&ran, "/workers")), (2, &json!(3)), "{:?}", ran.report);
    assert_eq!(number(&world, "SELECT count(*) FROM log").await, 0);
    log_is_whole(&world, &was, 4000).await;
}

#[tokio::test]
async fn a_storage_that_is_gone_keeps_all_rows_and_one_that_is_not_known_is_needed() {
    let world = log(params()).await;
    let was = world.rows("log").await;
    let dry = world.occurrence().options(Options { dry_run: Some(true), ..Options::default() });
    let aside = world.folder.path().join("aside");
    std::fs::rename(world.shelf(), &aside).unwrap();
    let ran = dry.run().await.unwrap();
    assert_eq!(
        (ran.state.as_str(), detail(&ran, "/archive")),
        ("succeeded", &json!("storage shelf, as jsonl"))
    );
    let ran = world.occurrence().run().await.unwrap();
    let error = ran.error.unwrap_or_default();
    assert!(ran.state == "failed" && error.contains("is not there"), "{} {error}", ran.state);
    // It vanishes in mid-run: its folder takes no more objects.
    std::fs::write(world.shelf(), "").unwrap();
    assert_eq!(world.occurrence().run().await.unwrap().state, "failed");
    assert_eq!(world.rows("log").await, was);
    std::fs::remove_file(world.shelf()).unwrap();
    std::fs::rename(&aside, world.shelf()).unwrap();
    assert_eq!(files(&world.shelf()), Vec::<String>::new());
    world.succeed().await;
    log_is_whole(&world, &was, 30).await;
    assert_eq!(world.db.job::<Vec<String>>("nightly", "needs").await, ["storage:shelf"]);
}

#[cfg(feature = "s3-server")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_go_into_a_bucket_and_none_where_it_says_no() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = serve(root.path()).await;
    let mut world = World::with(LOG, folder, known(address, "another"), local(address)).await;
    job(&world, params()).await;
    let was = world.rows("log").await;
    let ran = world.occurrence().run().await.unwrap();
    let error = ran.error.unwrap_or_default();
    assert!(ran.state == "failed" && error.contains("storage shelf: cannot write"), "{} {error}", ran.state);
    assert_eq!(world.rows("log").await, was);
    world.contents = known(address, "key");
    let lost = world.occurrence().kill_after_batches(3).run().await.unwrap();
    assert_eq!(lost.state, "running");
    world.succeed().await;
    log_is_whole(&world, &was, 30).await;
    assert!(world.restored(&["--archive", "--verify"]).await.contains(" 0 of them bad"));
}
