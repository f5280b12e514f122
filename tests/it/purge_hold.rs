//! What purges must leave: holds, set at any moment, and what jobs protect.

use serde_json::json;
use sexton::kind::Nature;

use crate::{
    purge_support::{World, detail},
    support::{Hand, code, detail as reason_of},
};

/// 300 rows, an hour apart, of three tenants; one tenant in four is unknown.
const LOG: &str = "CREATE TABLE log (id bigint PRIMARY KEY, at timestamptz NOT NULL, tenant bigint);
    INSERT INTO log SELECT i, now() - i * interval '1 hour', nullif(i % 4, 3) FROM generate_series(1, 300) i;
    CREATE INDEX ON log (at);";

fn params() -> serde_json::Value {
    json!({"table": "log", "by": "at", "retention": "10 hours 30 minutes", "max_fraction": 1, "batch": 20})
}

const HOLD: &str = "SELECT sexton.hold('log', 'tenant = 1 OR tenant = 2', 'court')";

#[tokio::test]
async fn what_is_held_stays_in_both_walks_until_the_hold_is_lifted() {
    for walk in ["heap", "index"] {
        let world = World::new(LOG).await;
        let mut params = params();
        params["walk"] = walk.into();
        world.unarmed_job(params, json!({})).await;
        let answer: String = world.0.get(HOLD, &[]).await;
        assert!(answer.starts_with("Hold 1 is set"), "{answer}");
        let held = world.number("SELECT count(*) FROM log WHERE id > 10 AND tenant IN (1, 2)").await;
        let ran = world.succeed().await;
        assert_eq!(
            (detail(&ran, "/eligible").as_i64(), detail(&ran, "/kept").as_i64()),
            (Some(290 - held), Some(held))
        );
        assert_eq!(detail(&ran, "/holds/0/reason"), "court");
        world.0.verb("arm", "j").await;
        assert_eq!(world.succeed().await.rows, 290 - held, "{walk}: NULL holds nothing");
        world.0.execute("SELECT sexton.unhold(1)").await;
        assert_eq!(world.succeed().await.rows, held);
        assert_eq!(code(world.0.client.query_one("SELECT sexton.unhold(1)", &[]).await), "SX006");
        let audit: String = world
            .0
            .get("SELECT string_agg(verb, ' ' ORDER BY id) FROM sexton.audit WHERE verb LIKE '%hold'", &[])
            .await;
        assert_eq!(audit, "hold unhold");
    }
}

#[tokio::test]
async fn a_hold_set_in_mid_run_is_kept_from_the_next_batch_on() {
    let world = World::new(LOG).await;
    // The application holds a lock at the third batch, and the hold is set while the purge waits.
    let mut params = params();
    params["pacing"] = "full".into();
    world.job(params).await;
    let blocker = world.0.session().await;
    blocker.batch_execute("BEGIN; LOCK TABLE log IN SHARE MODE").await.unwrap();
    let run = world.occurrence().run();
    let hold = async {
        world.0.until_job("j", "state = 'running'").await;
        world.0.execute(HOLD).await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ran, ()) = tokio::join!(run, hold);
    let ran = ran.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref(), ran.rows), ("released", Some("held"), 0));
    let held = world.number("SELECT count(*) FROM log WHERE tenant IN (1, 2)").await;
    let ran = world.succeed().await;
    assert_eq!(ran.attempt, 1, "the attempt is given back");
    assert_eq!(world.number("SELECT count(*) FROM log WHERE tenant IN (1, 2)").await, held);
    assert_eq!(world.number("SELECT count(*) FROM log WHERE id > 10 AND tenant IS DISTINCT FROM 1 AND tenant IS DISTINCT FROM 2").await, 0);
}

/// The holder of an armed, running purge, one batch on.
async fn holder(world: &World) -> Hand {
    world.job(params()).await;
    world.0.planned("j").await;
    world.0.verb("run_now", "j").await;
    let hand = Hand::claim_as(&world.0, "j", Nature::Destructive).await;
    hand.batch(0).await.unwrap();
    hand
}

#[tokio::test]
async fn setting_a_hold_is_a_barrier() {
    let world = World::new(LOG).await;
    let hand = holder(&world).await;
    hand.client.batch_execute("BEGIN").await.unwrap();
    hand.fence(1).await.unwrap();
    let operator = world.0.session().await;
    let mut act = Box::pin(operator.batch_execute(HOLD));
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton.hold(%'";
    tokio::select! {
        _ = &mut act => panic!("it returned while a batch was committing"),
        () = world.0.until("the hold waits", waits, &[]) => {}
    }
    hand.client.batch_execute("COMMIT").await.unwrap();
    act.await.unwrap();
    assert_eq!(reason_of(hand.batch(2).await), "held");
    assert_eq!(hand.ping().await.as_deref(), Some("held"));
    hand.finish("released", 2).await.unwrap();
    hand.die(&world.0).await;
    let next = Hand::claim_as(&world.0, "j", Nature::Destructive).await;
    next.batch(0).await.expect("the next run knows of it");
    world.0.execute("SELECT sexton.unhold(1)").await;
    next.batch(1).await.expect("lifting one stops nobody");
}

#[tokio::test]
async fn a_claim_that_is_committing_is_waited_for() {
    let world = World::new(LOG).await;
    world.job(params()).await;
    world.0.planned("j").await;
    world.0.verb("run_now", "j").await;
    let operator = world.0.session().await;
    operator.batch_execute(&format!("BEGIN; {HOLD}")).await.unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton.claim%'";
    let commit = async {
        world.0.until("the claim waits", waits, &[]).await;
        operator.batch_execute("COMMIT").await.unwrap();
    };
    let (hand, ()) = tokio::join!(Hand::claim_as(&world.0, "j", Nature::Destructive), commit);
    hand.batch(0).await.expect("it began after the hold");
    let mut strict = world.0.session().await;
    let strict =
        strict.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start();
    assert_eq!(code(strict.await.unwrap().query_one(HOLD, &[]).await), "SX005");
}

#[tokio::test]
async fn partitions_their_parent_and_what_cascades_are_seen() {
    let world = World::new(
        "CREATE TABLE p (at timestamptz, n int) PARTITION BY LIST (n);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
         CREATE INDEX ON p (at); INSERT INTO p SELECT '2020-01-01', 1 + i % 2 FROM generate_series(1, 20) i;
         CREATE TABLE c (id int PRIMARY KEY, at timestamptz); INSERT INTO c VALUES (1, '2020-01-01');
         CREATE TABLE d (c int REFERENCES c ON DELETE CASCADE); CREATE INDEX ON d (c); INSERT INTO d VALUES (1);",
    )
    .await;
    let params = |table: &str| json!({"table": table, "by": "at", "retention": "1 day", "max_fraction": 1});
    world
        .0
        .execute(
            "SELECT sexton.hold('p2', 'true', 'a partition'); SELECT sexton.hold('p', 'n = 1', 'the whole')",
        )
        .await;
    for table in ["p", "p1"] {
        world.job(params(table)).await;
        assert_eq!(world.succeed().await.rows, 0, "{table}");
    }
    world.0.execute("SELECT sexton.unhold(2)").await;
    world.job(params("p")).await;
    assert_eq!((world.succeed().await.rows, world.number("SELECT sum(n)::bigint FROM p").await), (10, 20));
    world.0.execute("SELECT sexton.hold('d', 'c > 5', 'a child')").await;
    world.job(params("c")).await;
    let refusal = world.refused().await;
    assert!(refusal.contains("hold 3 is on public.d, whose rows foreign keys would delete"), "{refusal}");
}

#[tokio::test]
async fn a_hold_that_no_longer_makes_sense_stops_the_purge() {
    let world = World::new(LOG).await;
    world.job(params()).await;
    world
        .0
        .execute(
            "SELECT sexton.hold('log', 'tenant = 1', 'court'); ALTER TABLE log RENAME tenant TO customer",
        )
        .await;
    let refusal = world.refused().await;
    assert!(refusal.contains("hold 1 on public.log cannot be kept"), "{refusal}");
    assert!(refusal.contains("sexton.unhold(1)"), "{refusal}");
}

#[tokio::test]
async fn what_is_no_predicate_is_refused_and_only_authors_may_call_functions() {
    let world = World::new(LOG).await;
    for (predicate, state) in [
        ("tenant", "SX006"),
        ("true) OR (true", "SX006"),
        ("true); DROP TABLE log; --", "SX006"),
        ("nope = 1", "SX006"),
        ("id = $1", "SX006"),
        ("count(*) > 1", "SX006"),
        (" ", "SX006"),
    ] {
        let asked = world.0.client.query_one("SELECT sexton.hold('log', $1, 'why')", &[&predicate]).await;
        assert_eq!(code(asked), state, "{predicate}");
    }
    assert_eq!(
        code(world.0.client.query_one("SELECT sexton.hold('gone', 'true', 'why')", &[]).await),
        "SX006"
    );
    let login =
        format!("operator_in_{}", world.0.get::<String>("SELECT current_database()::text", &[]).await);
    world.0.execute(&format!("CREATE ROLE {login} LOGIN IN ROLE sexton_operator")).await;
    let operator = world.0.session_as(&login).await;
    for plain in [
        "tenant = 7 AND (id > 5 OR at IN ('2020-01-01', 'x(')) -- no",
        "tenant = 7 AND (id > 5)",
        "tenant IN (1, 2)",
    ] {
        let asked = operator.query_one("SELECT sexton.hold('log', $1, 'why')", &[&plain]).await;
        match plain.contains("--") {
            true => assert_eq!(code(asked), "42501", "{plain}"),
            false => drop(asked.unwrap_or_else(|error| panic!("{plain}: {error:?}"))),
        }
    }
    for call in [
        "pg_sleep(9) IS NULL",
        "log.evil",
        "id = (SELECT 1)",
        "id::text = 'x'",
        "\"lower\" ('x') = 'x'",
        "id OPERATOR(pg_catalog.=) 1",
    ] {
        let asked = operator.query_one("SELECT sexton.hold('log', $1, 'why')", &[&call]).await;
        assert_eq!(code(asked), "42501", "{call}");
    }
    let forged = operator.query_one("INSERT INTO sexton.hold (table_name, table_oid, predicate, reason, held_by) VALUES ('log', 1, 'true', 'x', 'me') RETURNING id", &[]);
    assert_eq!(code(forged.await), "42501");
    operator.query_one("SELECT sexton.unhold(min(id)) FROM sexton.hold", &[]).await.unwrap();
}

#[tokio::test]
async fn a_job_protects_by_predicate_or_by_a_list() {
    let list = "CREATE TABLE litigation (tenant bigint); INSERT INTO litigation VALUES (1), (NULL);";
    for (protect, kept) in [
        (json!("tenant = 1"), "tenant = 1"),
        (json!({"table": "litigation", "keys": ["tenant"]}), "tenant = 1"),
    ] {
        let world = World::new(&format!("{LOG} {list}")).await;
        let mut params = params();
        params["protect"] = protect;
        world.job(params).await;
        let due =
            world.number(&format!("SELECT count(*) FROM log WHERE id > 10 AND ({kept}) IS NOT TRUE")).await;
        assert_eq!(world.succeed().await.rows, due);
        assert_eq!(
            world.number(&format!("SELECT count(*) FROM log WHERE id > 10 AND ({kept}) IS NOT TRUE")).await,
            0
        );
    }
    let world = World::new(&format!("{LOG} {list}")).await;
    for (protect, says) in [
        (json!({"table": "litigation", "keys": ["id"]}), "has no column id"),
        (json!({"table": "nowhere", "keys": ["id"]}), "there is no table nowhere"),
        (json!("tenant"), "not boolean"),
        (json!("true) OR (true"), "params.protect"),
    ] {
        let mut params = params();
        params["protect"] = protect;
        world.job(params).await;
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[tokio::test]
async fn no_partition_goes_as_a_whole_while_something_may_stay() {
    let table = "CREATE TABLE p (at timestamptz NOT NULL, n int) PARTITION BY RANGE (at);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2020-02-01');
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2020-02-01') TO (MAXVALUE); CREATE INDEX ON p (at); CREATE INDEX ON p (n);
         INSERT INTO p SELECT '2020-01-01', i FROM generate_series(1, 20) i;";
    let base =
        json!({"table": "p", "by": "at", "retention": "1 day", "max_fraction": 1, "walk": "partition"});
    for (held, name, value, says) in [
        (true, "batch", json!(10), "a hold may spare rows"),
        (false, "protect", json!("n = 7"), "protect may spare rows"),
        (false, "keep_last", json!({"rows": 1, "per": ["n"]}), "keep_last may spare rows"),
    ] {
        let world = World::new(table).await;
        let mut params = base.clone();
        params[name] = value;
        world.job(params.clone()).await;
        if held {
            world.0.execute("SELECT sexton.hold('p1', 'n = 7', 'court')").await;
        }
        let refusal = world.refused().await;
        assert!(refusal.contains(says), "{refusal}");
        params["walk"] = "auto".into();
        world.job(params).await;
        world.succeed().await;
        assert!(world.number("SELECT count(*) FROM p1 WHERE n = 7").await == 1, "{name}: the row is there");
    }
    let world = World::new(table).await;
    world.job(base).await;
    world.succeed().await;
    assert_eq!(world.number("SELECT count(to_regclass('p1'))").await, 0, "the control: it goes as a whole");
}
