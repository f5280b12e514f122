//! Purges in other databases: what is read, held and deleted there, and shards that do not stop one another.

use serde_json::{Value, json};
use sexton::{
    Registry,
    testing::{Occurrence, Ran},
};

use crate::{
    databases_support::{World, fenced, knowing},
    purge_support::detail,
    support::{Db, Replica, code},
};

/// 100 rows, an hour apart, of two tenants; all but 10 are old by `params()`. A trigger notes each that is deleted.
const LOG: &str = "CREATE SCHEMA app;
    CREATE TABLE app.log (id int PRIMARY KEY, at timestamptz NOT NULL, tenant int);
    INSERT INTO app.log SELECT i, now() - i * interval '1 hour', i % 2 FROM generate_series(1, 100) i;
    CREATE INDEX ON app.log (at); ANALYZE app.log;
    CREATE TABLE app.deleted (id int);
    CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO app.deleted VALUES (OLD.id); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER DELETE ON app.log FOR EACH ROW EXECUTE FUNCTION app.note();";

fn params() -> Value {
    json!({"table": "app.log", "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 20})
}

impl World {
    /// The other database has the table; the job `job` purges it, unarmed.
    async fn of_purge(params: Value) -> World {
        let world = World::new().await;
        world.there.execute(LOG).await;
        let sql =
            "INSERT INTO sexton.job (name, kind, params, database) VALUES ('job', 'purge', $1, 'archive')";
        world.home.client.execute(sql, &[&params]).await.unwrap();
        world
    }

    fn purge(&self) -> Occurrence {
        let registry = self.registry(Registry::with_builtins());
        Occurrence::of("job", self.home.config.clone()).registry(registry)
    }
}

async fn succeed(purge: Occurrence) -> Ran {
    let ran = purge.run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
    ran
}

async fn number(db: &Db, sql: &str) -> i64 {
    db.get(sql, &[]).await
}

const LEFT: &str = "SELECT count(*) FROM app.log";
const DELETED: &str = "SELECT count(*) FROM app.deleted";

#[tokio::test]
async fn a_plan_reads_there_and_a_run_deletes_there() {
    for pacing in ["gentle", "full"] {
        let mut params = params();
        params["pacing"] = pacing.into();
        let world = World::of_purge(params).await;
        // What stands here by the same name is nobody's business.
        world.home.execute(LOG).await;
        let dry = succeed(world.purge()).await;
        assert_eq!((dry.mode.as_str(), dry.rows), ("dry", 0));
        assert_eq!(detail(&dry, "/database"), "archive");
        assert_eq!(detail(&dry, "/eligible").as_i64(), Some(90));
        assert_eq!(number(&world.there, LEFT).await, 100);
        world.home.verb("arm", "job").await;
        let ran = succeed(world.purge()).await;
        assert_eq!((ran.rows, detail(&ran, "/database").as_str()), (90, Some("archive")), "{pacing}");
        assert_eq!((number(&world.there, LEFT).await, number(&world.home, LEFT).await), (10, 100));
        let listed: String = world.home.get("SELECT database FROM sexton.jobs", &[]).await;
        assert_eq!(listed, "archive");
    }
}

#[tokio::test]
async fn what_goes_along_and_what_comes_after_is_there_too() {
    let mut params = params();
    params["children"] = json!(["app.part"]);
    params["archive"] = json!({"table": "app.kept"});
    params["vacuum"] = "after".into();
    let world = World::of_purge(params).await;
    world
        .there
        .execute(
            "CREATE TABLE app.part (id int PRIMARY KEY REFERENCES app.log); CREATE TABLE app.kept (LIKE app.log);
             INSERT INTO app.part SELECT id FROM app.log",
        )
        .await;
    world.home.verb("arm", "job").await;
    let ran = succeed(world.purge()).await;
    assert_eq!((ran.rows, detail(&ran, "/children/0/deleted").as_i64()), (90, Some(90)), "{:?}", ran.report);
    assert_eq!(number(&world.there, "SELECT count(*) FROM app.kept").await, 90);
    assert!(detail(&ran, "/vacuum/done").as_array().is_some_and(|done| !done.is_empty()), "{:?}", ran.report);
}

#[tokio::test]
async fn whole_partitions_go_there() {
    let mut params = params();
    params["table"] = "app.days".into();
    params["walk"] = "partition".into();
    let world = World::of_purge(params).await;
    world
        .there
        .execute(
            "CREATE TABLE app.days (id int, at timestamptz NOT NULL) PARTITION BY RANGE (at);
             CREATE TABLE app.old PARTITION OF app.days FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
             CREATE TABLE app.new PARTITION OF app.days FOR VALUES FROM ('2020-02-01') TO ('2100-01-01');
             INSERT INTO app.days SELECT n, '2020-01-05' FROM generate_series(1, 30) n; INSERT INTO app.days VALUES (0, now()); CREATE INDEX ON app.days (at)",
        )
        .await;
    world.home.verb("arm", "job").await;
    let ran = succeed(world.purge()).await;
    assert_eq!(detail(&ran, "/partitions/0/name"), "app.old", "{:?}", ran.report);
    assert_eq!(
        number(&world.there, "SELECT count(*) FROM pg_class WHERE relname IN ('old', 'new')").await,
        1
    );
}

#[tokio::test]
async fn a_one_off_goes_where_its_job_does() {
    let erase = json!({"table": "app.log", "where": "tenant = :tenant", "max_fraction": 1});
    let world = World::of_purge(erase).await;
    world.home.execute("UPDATE sexton.job SET inputs = '{\"tenant\": \"int\"}'").await;
    world.home.verb("arm", "job").await;
    let registry = world.registry(Registry::with_builtins());
    let replica = Replica::with(&world.home, |builder| builder.registry(registry));
    world.home.until_job("job", "planned").await;
    world.home.execute("SELECT sexton.submit('job', '{\"tenant\": 1}')").await;
    let done = "SELECT count(*) = 1 FROM sexton.run WHERE state = 'succeeded' AND rows_done = 50";
    world.home.until("the one-off is done", done, &[]).await;
    assert_eq!(number(&world.there, LEFT).await, 50);
    replica.drain().await;
}

#[tokio::test]
async fn guards_and_budgets_are_those_of_the_job_there() {
    let mut params = params();
    params["max_fraction"] = json!(0.5);
    let world = World::of_purge(params.clone()).await;
    world.home.verb("arm", "job").await;
    let refused = world.purge().run().await.unwrap();
    assert_eq!((refused.state.as_str(), refused.rows), ("refused", 0));
    let error = refused.error.unwrap();
    assert!(error.contains("sexton arm job --approve 9"), "{error}");
    params["max_fraction"] = json!(1);
    params["limit_rows"] = json!(30);
    world.home.client.execute("UPDATE sexton.job SET params = $1", &[&params]).await.unwrap();
    world.home.verb("arm", "job").await;
    // Lost after a batch: the rows of both attempts count.
    let lost = world.purge().kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.rows), ("running", 20));
    let ran = succeed(world.purge()).await;
    assert_eq!((ran.rows, detail(&ran, "/stopped").as_str()), (10, Some("limit_rows")), "{:?}", ran.report);
    assert_eq!(number(&world.there, DELETED).await, 30);
}

#[tokio::test]
async fn what_is_held_there_stays_there() {
    let world = World::of_purge(params()).await;
    let answer: String =
        world.home.get("SELECT sexton.hold('app.log', 'tenant = 1', 'court', 'archive')", &[]).await;
    assert!(
        answer.starts_with("Hold 1 is set: no purge deletes rows of app.log in the database archive"),
        "{answer}"
    );
    world.home.execute("SELECT sexton.hold('app.log', 'tenant = 0', 'another', 'other')").await;
    let dry = succeed(world.purge()).await;
    assert_eq!((detail(&dry, "/eligible").as_i64(), detail(&dry, "/kept").as_i64()), (Some(45), Some(45)));
    assert_eq!(detail(&dry, "/holds/0/reason"), "court");
    world.home.verb("arm", "job").await;
    assert_eq!(succeed(world.purge()).await.rows, 45);
    assert_eq!(number(&world.there, "SELECT count(*) FROM app.log WHERE tenant = 1").await, 50);
    world.home.execute("SELECT sexton.unhold(1)").await;
    assert_eq!(succeed(world.purge()).await.rows, 45);
}

#[tokio::test]
async fn a_hold_there_is_kept_from_the_next_batch_on() {
    let world = World::of_purge(params()).await;
    world.home.verb("arm", "job").await;
    let blocker = world.there.session().await;
    blocker.batch_execute("BEGIN; LOCK TABLE app.log IN SHARE MODE").await.unwrap();
    let hold = async {
        world.home.until_job("job", "state = 'running'").await;
        world.home.execute("SELECT sexton.hold('app.log', 'tenant = 1', 'court', 'archive')").await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ran, ()) = tokio::join!(world.purge().run(), hold);
    let ran = ran.unwrap();
    // Where it was set before the run had read the holds, there is nothing to stop.
    if ran.state != "succeeded" {
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("released", Some("held")));
        succeed(world.purge()).await;
    }
    assert_eq!(number(&world.there, "SELECT count(*) FROM app.log WHERE tenant = 1").await, 50);
    assert_eq!(number(&world.there, DELETED).await, 45);
}

#[tokio::test]
async fn a_hold_there_that_cannot_be_kept_refuses_and_its_table_needs_its_full_name() {
    let world = World::of_purge(params()).await;
    world.home.execute("SELECT sexton.hold('app.log', 'no_such_column = 1', 'court', 'archive')").await;
    let refused = world.purge().run().await.unwrap();
    assert_eq!(refused.state, "refused");
    assert!(refused.error.unwrap().contains("hold 1 on app.log cannot be kept"));
    let short = "SELECT sexton.hold('log', 'true', 'court', 'archive')";
    assert_eq!(code(world.home.client.query_one(short, &[]).await), "SX006");
    let odd = "SELECT sexton.hold('\"App\".\"Log\"', 'true', 'court', 'archive')";
    world.home.execute(odd).await;
    let names = "SELECT string_agg(table_name, ' ' ORDER BY id) FROM sexton.hold";
    assert_eq!(world.home.get::<String>(names, &[]).await, "app.log \"App\".\"Log\"");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_told_and_what_cannot_be_done_there_too() {
    let mut params = params();
    params["table"] = "app.gone".into();
    let world = World::of_purge(params.clone()).await;
    let refused = world.purge().run().await.unwrap();
    assert_eq!(refused.state, "refused");
    assert!(refused.error.unwrap().contains("table app.gone is not in the database archive"));
    params["workers"] = json!(2);
    params["pacing"] = "full".into();
    world.home.client.execute("UPDATE sexton.job SET params = $1", &[&params]).await.unwrap();
    world.purge().run().await.expect_err("it is invalid");
    let reason: String = world.home.job("job", "invalid_reason").await;
    assert!(reason.starts_with("database: params.workers must be 1"), "{reason}");
}

/// Three shards with the table each, of which some have no fence yet, and one job for all.
struct Shards {
    home: Db,
    shards: Vec<Db>,
}

const NAMES: [&str; 3] = ["shard1", "shard2", "shard3"];

impl Shards {
    async fn new(fences: [bool; 3]) -> Shards {
        let (home, mut shards) = (Db::new().await, Vec::new());
        for fence in fences {
            let shard = Db::new().await;
            shard.execute(LOG).await;
            if fence {
                fenced(&shard).await;
            }
            shards.push(shard);
        }
        let target = |name: &&str| {
            let mut target = params();
            target["database"] = (*name).into();
            target
        };
        let targets: Vec<Value> = NAMES.iter().map(target).collect();
        home.insert("job", "purge", "manual", json!({"targets": targets})).await;
        home.verb("arm", "job").await;
        Shards { home, shards }
    }

    fn occurrence(&self) -> Occurrence {
        let known: Vec<(&'static str, &Db)> = NAMES.into_iter().zip(&self.shards).collect();
        let registry = knowing(Registry::with_builtins(), &known);
        Occurrence::of("job", self.home.config.clone()).registry(registry)
    }

    async fn deleted(&self) -> Vec<i64> {
        let mut deleted = Vec::new();
        for shard in &self.shards {
            let twice = "SELECT count(*) - count(DISTINCT id) FROM app.deleted";
            assert_eq!(number(shard, twice).await, 0, "no row is deleted twice");
            deleted.push(number(shard, DELETED).await);
        }
        deleted
    }
}

/// What the report says of each target, as `database outcome deleted`.
fn lines(ran: &Ran) -> Vec<String> {
    let lines = detail(ran, "/targets").as_array().cloned().unwrap_or_default();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines
        .iter()
        .map(|line| format!("{} {} {}", text(line, "database"), text(line, "outcome"), line["deleted"]))
        .collect()
}

#[tokio::test]
async fn each_shard_has_its_turn_and_its_line() {
    let shards = Shards::new([true; 3]).await;
    let dry =
        shards.occurrence().options(sexton::kind::Options { dry_run: Some(true), ..Default::default() });
    let dry = succeed(dry).await;
    assert_eq!(detail(&dry, "/eligible").as_i64(), Some(270));
    let ran = succeed(shards.occurrence()).await;
    assert_eq!(lines(&ran), ["shard1 succeeded 90", "shard2 succeeded 90", "shard3 succeeded 90"]);
    assert_eq!((ran.rows, shards.deleted().await), (270, vec![90; 3]));
    let listed: String = shards.home.get("SELECT database FROM sexton.jobs", &[]).await;
    assert_eq!(listed, "shard1, shard2, shard3");
}

#[tokio::test]
async fn a_target_that_names_no_database_is_at_home() {
    let shards = Shards::new([true; 3]).await;
    shards.home.execute(LOG).await;
    let sql = "UPDATE sexton.job SET params = jsonb_set(params, '{targets,1}', (params #> '{targets,1}') - 'database'::text)";
    shards.home.execute(sql).await;
    shards.home.verb("arm", "job").await;
    let ran = succeed(shards.occurrence()).await;
    assert_eq!(lines(&ran), ["shard1 succeeded 90", " succeeded 90", "shard3 succeeded 90"]);
    assert_eq!((number(&shards.home, LEFT).await, shards.deleted().await), (10, vec![90, 0, 90]));
}

#[tokio::test]
async fn a_shard_that_fails_stops_no_other_and_is_tried_again() {
    let shards = Shards::new([false, true, true]).await;
    let ran = shards.occurrence().run().await.unwrap();
    assert_eq!(ran.state, "failed");
    assert_eq!(lines(&ran), ["shard1 failed 0", "shard2 succeeded 90", "shard3 succeeded 90"]);
    assert!(detail(&ran, "/targets/0/error").as_str().unwrap().contains("sexton migrate --fence"));
    fenced(&shards.shards[0]).await;
    shards.home.execute("UPDATE sexton.job SET due_at = now()").await;
    let ran = succeed(shards.occurrence()).await;
    assert_eq!((ran.attempt, ran.rows), (2, 90));
    assert_eq!(lines(&ran), ["shard1 succeeded 90", "shard2 succeeded 0", "shard3 succeeded 0"]);
    assert_eq!(shards.deleted().await, [90; 3]);
}

/// Lost after any number of batches, and with the record of the last one lost too: each shard is at its own cursor.
#[tokio::test]
async fn each_shard_goes_on_at_its_own_cursor() {
    for batches in [1, 4, 7, 9, 14] {
        let shards = Shards::new([true; 3]).await;
        let lost = shards.occurrence().kill_after_batches(batches).run().await.unwrap();
        assert_eq!(lost.state, "running");
        // The last batch of a shard is taken out of what is recorded here, as if the holder had died before its commit.
        for shard in &shards.shards {
            let last = "SELECT done_by::text, seq, rows FROM sexton_fence.job WHERE moved_at IS NOT NULL";
            let Some(row) = shard.client.query_opt(last, &[]).await.unwrap() else { continue };
            let (run, seq, rows): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let behind = format!(
                "UPDATE sexton.run_part SET seq = seq - 1, rows = rows - {rows} WHERE run_id = '{run}' AND seq = {seq}"
            );
            shards.home.execute(&behind).await;
        }
        let ran = succeed(shards.occurrence()).await;
        assert_eq!(shards.deleted().await, [90; 3], "{batches}");
        let recorded: i64 = number(&shards.home, "SELECT sum(rows)::bigint FROM sexton.run_part").await;
        assert_eq!(recorded, 270, "{batches}: {:?}", ran.report);
    }
}
