//! Resources that jobs hold from their claim on.

use serde_json::{Value, json};
use sexton::kind::Nature;

use crate::support::{Db, Hand, Replica};

/// A manual job of the kind `steps` with these resources.
async fn job(db: &Db, name: &str, resources: Value, params: Value) {
    let sql = "INSERT INTO sexton.job (name, kind, params, resources) VALUES ($1, 'steps', $2, $3)";
    db.client.execute(sql, &[&name, &params, &resources]).await.unwrap();
    db.planned(name).await;
}

/// The same, due now.
async fn due(db: &Db, name: &str, resources: Value, params: Value) {
    job(db, name, resources, params).await;
    db.verb("run_now", name).await;
}

/// Pairs of runs of two jobs that were on their way at the same time.
const OVERLAPS: &str = "SELECT count(*) FROM sexton.run a JOIN sexton.run b ON a.job_name < b.job_name
    WHERE a.job_name = ANY ($1) AND b.job_name = ANY ($1)
      AND a.started_at < coalesce(b.finished_at, 'infinity') AND b.started_at < coalesce(a.finished_at, 'infinity')";

#[tokio::test]
async fn one_waits_for_the_other_uses_up_no_attempt_and_says_for_whom() {
    let db = Db::new().await;
    let held = json!({"hold_before": 2, "gate": "first"});
    due(&db, "first", json!(["app:1"]), held).await;
    let replica = Replica::start(&db);
    db.until_job("first", "state = 'running'").await;
    due(&db, "second", json!(["app:1"]), json!({})).await;
    due(&db, "elsewhere", json!(["app:2"]), json!({})).await;
    db.until_outcomes("elsewhere", "succeeded").await;
    let waits = "SELECT EXISTS (SELECT FROM sexton.resources WHERE name = 'app:1' AND waits AND job = 'second' AND since IS NOT NULL
                                   AND behind LIKE 'job first on %')";
    db.until("the second waits", waits, &[]).await;
    let why = db.verb("why", "second").await;
    assert!(
        why.contains("waits since") && why.contains("\"app:1\"") && why.contains("held by job first on"),
        "{why}"
    );
    assert_eq!(db.job::<i32>("second", "attempt").await, 0);
    assert_eq!(db.get::<String>("SELECT state FROM sexton.jobs WHERE name = 'second'", &[]).await, "due");
    assert_eq!(db.last_run::<Value>("first", "resources").await, json!(["app:1"]));
    db.open_gate("first").await;
    db.until_outcomes("second", "succeeded").await;
    assert_eq!(db.last_run::<i32>("second", "attempt").await, 1);
    assert_eq!(db.get::<i64>(OVERLAPS, &[&vec!["first", "second"]]).await, 0);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.waiting", &[]).await, 0);
    replica.drain().await;
}

#[tokio::test]
async fn who_shares_runs_together_and_never_beside_who_does_not() {
    let db = Db::new().await;
    let shared = |app: &str| json!([app, {"name": "backup", "shared": true}]);
    due(&db, "app-1", shared("app:1"), json!({"hold_before": 1, "gate": "one"})).await;
    due(&db, "app-2", shared("app:2"), json!({"hold_before": 1, "gate": "two"})).await;
    let replica = Replica::with(&db, |builder| builder.slots(8));
    db.until_job("app-1", "state = 'running'").await;
    db.until_job("app-2", "state = 'running'").await;
    let shares = "SELECT count(*) = 2 FROM sexton.resources WHERE name = 'backup' AND shared AND NOT waits";
    db.until("both share it", shares, &[]).await;
    due(&db, "full", json!(["backup"]), json!({})).await;
    db.until("the full one waits", "SELECT EXISTS (SELECT FROM sexton.waiting)", &[]).await;
    // Who comes later, even to share, does not overtake: else those who share would keep it waiting for ever.
    due(&db, "app-3", shared("app:3"), json!({})).await;
    db.open_gate("one").await;
    db.until_outcomes("app-1", "succeeded").await;
    let behind = "SELECT EXISTS (SELECT FROM sexton.waiting w JOIN sexton.job j ON j.id = w.job_id
                                  WHERE j.name = 'app-3' AND w.behind LIKE 'job full, which waits%')";
    db.until("the third waits behind the full one", behind, &[]).await;
    db.open_gate("two").await;
    db.until_outcomes("app-3", "succeeded").await;
    db.until_outcomes("full", "succeeded").await;
    let order = "SELECT (SELECT finished_at FROM sexton.run WHERE job_name = 'full') < (SELECT started_at FROM sexton.run WHERE job_name = 'app-3')";
    assert!(db.get::<bool>(order, &[]).await, "in the order in which they began to wait");
    for app in ["app-1", "app-2", "app-3"] {
        assert_eq!(db.get::<i64>(OVERLAPS, &[&vec![app, "full"]]).await, 0, "{app}");
    }
    assert_eq!(db.get::<i64>(OVERLAPS, &[&vec!["app-1", "app-2"]]).await, 1, "they did run together");
    replica.drain().await;
}

/// Two jobs that name the same two resources in opposite orders, many times over.
async fn crossed(db: &Db) {
    let params = json!({"steps": 1});
    job(db, "one", json!(["x", "y"]), params.clone()).await;
    job(db, "other", json!(["y", "x"]), params).await;
    let replicas: Vec<Replica> = (0..3).map(|_| Replica::start(db)).collect();
    for round in 1..=8_i64 {
        db.execute("SELECT sexton.run_now(name) FROM sexton.job").await;
        let done = "SELECT count(*) = 2 * $1::bigint FROM sexton.run WHERE state = 'succeeded'";
        db.until("both ran", done, &[&round]).await;
    }
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run", &[]).await, 16, "no run failed");
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn crossed_jobs_neither_deadlock_nor_overlap() {
    let db = Db::new().await;
    crossed(&db).await;
    assert_eq!(db.get::<i64>(OVERLAPS, &[&vec!["one", "other"]]).await, 0);
}

/// The control to it: where resources are not taken, the two are found side by side.
#[tokio::test]
async fn without_their_resources_the_two_overlap() {
    let db = Db::new().await;
    db.execute(
        "CREATE OR REPLACE FUNCTION sexton.wanted(j sexton.job, p_mode text) RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$",
    )
    .await;
    let held = json!({"hold_before": 1});
    due(&db, "one", json!(["x"]), held.clone()).await;
    due(&db, "other", json!(["x"]), held).await;
    let replica = Replica::start(&db);
    db.until("both run", "SELECT count(*) = 2 FROM sexton.run WHERE state = 'running'", &[]).await;
    assert_eq!(db.get::<i64>(OVERLAPS, &[&vec!["one", "other"]]).await, 1);
    db.open_gate("gate").await;
    db.until_outcomes("one", "succeeded").await;
    replica.drain().await;
}

#[tokio::test]
async fn what_a_dead_holder_had_is_free_at_once_and_its_row_still_says_so() {
    let db = Db::new().await;
    due(&db, "holder", json!(["app:1", {"name": "backup", "shared": true}]), json!({"hold_before": 2})).await;
    let doomed = Replica::with(&db, |builder| builder.slots(1));
    db.until_steps("holder", 1).await;
    due(&db, "heir", json!(["app:1"]), json!({})).await;
    doomed.crash().await;
    // Or it would be recovered, with its resources, before the other is tried.
    db.verb("pause", "holder").await;
    let heir = Replica::start(&db);
    db.until_outcomes("heir", "succeeded").await;
    let lost = "SELECT bool_and(resources = '[\"app:1\", {\"name\": \"backup\", \"shared\": true}]') FROM sexton.run WHERE job_name = 'holder'";
    assert!(db.get::<bool>(lost, &[]).await);
    db.verb("resume", "holder").await;
    db.open_gate("gate").await;
    db.until(
        "it goes on",
        "SELECT EXISTS (SELECT FROM sexton.run WHERE job_name = 'holder' AND state = 'succeeded')",
        &[],
    )
    .await;
    db.assert_exact().await;
    heir.drain().await;
}

/// Whoever recovers an orphan needs its resources too; if another has them by now, the run is settled, and waits.
#[tokio::test]
async fn an_orphan_whose_resource_is_taken_by_another_waits_as_a_job() {
    let db = Db::new().await;
    due(&db, "orphan", json!(["app:1"]), json!({})).await;
    let dead = Hand::claim(&db, "orphan").await;
    dead.batch(0).await.unwrap();
    dead.die(&db).await;
    due(&db, "thief", json!(["app:1"]), json!({})).await;
    let thief = Hand::claim(&db, "thief").await;
    let settled = Hand::try_claim(&db, "orphan", Nature::Database).await;
    assert_eq!(settled.result, "settled");
    assert!(settled.reason.contains("\"app:1\" is held by job thief"), "{}", settled.reason);
    assert_eq!((db.outcomes("orphan").await, db.job::<i32>("orphan", "attempt").await), ("lost".into(), 1));
    thief.finish("succeeded", 0).await.unwrap();
    thief.die(&db).await;
    let again = Hand::claim(&db, "orphan").await;
    assert_eq!(
        (again.attempt, again.cursor.clone()),
        (2, Some(json!({"done": 1}))),
        "it goes on at its cursor"
    );
}

#[tokio::test]
async fn who_would_rather_skip_skips_only_what_the_schedule_yields() {
    let db = Db::new().await;
    due(&db, "holder", json!(["app:1"]), json!({})).await;
    let holder = Hand::claim(&db, "holder").await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, schedule, resources, when_held) VALUES ('hurried', 'steps', 'every 1h', '[\"app:1\"]', 'skip')",
    )
    .await;
    let replica = Replica::start(&db);
    db.until_job("hurried", "planned").await;
    db.set_back("hurried", "1 hour").await;
    db.until_job("hurried", "missed_count = 1 AND planned AND due_at > now()").await;
    let noted = "SELECT detail ->> 'reason' FROM sexton.audit WHERE verb = 'skip' AND job_name = 'hurried'";
    assert!(db.get::<String>(noted, &[]).await.contains("held by job holder"));
    assert_eq!(db.outcomes("hurried").await, "");
    db.verb("run_now", "hurried").await;
    db.until("what a person asks for waits", "SELECT EXISTS (SELECT FROM sexton.waiting)", &[]).await;
    holder.finish("succeeded", 0).await.unwrap();
    holder.die(&db).await;
    db.until_outcomes("hurried", "succeeded").await;
    assert_eq!(db.last_run::<i64>("hurried", "coalesced").await, 1, "and it stands for what was skipped");
    replica.drain().await;
}

#[tokio::test]
async fn jobs_on_one_table_exclude_each_other_unless_they_say_otherwise() {
    let db = Db::new().await;
    for name in ["first", "second", "liberal"] {
        db.steps_job(name, json!({"table": "public.ledger"})).await;
        db.planned(name).await;
    }
    db.execute("UPDATE sexton.job SET shares_table = true WHERE name = 'liberal'; SELECT sexton.run_now(name) FROM sexton.job")
        .await;
    let first = Hand::claim(&db, "first").await;
    let table: String = db.get("SELECT 'table:' || 'public.ledger'::regclass::oid", &[]).await;
    assert_eq!(db.last_run::<Value>("first", "resources").await, json!([table]));
    let second = Hand::try_claim(&db, "second", Nature::Database).await;
    assert!(second.result == "lost" && second.reason.contains(&table), "{}", second.reason);
    let liberal = Hand::claim(&db, "liberal").await;
    assert_eq!(db.last_run::<Value>("liberal", "resources").await, json!([]));
    // What only looks is in nobody's way.
    assert_eq!(Hand::claim_as(&db, "second", Nature::Destructive).await.mode, "dry");
    drop((first, liberal));
}

#[tokio::test]
async fn an_input_may_be_part_of_a_name() {
    let db = Db::new().await;
    db.execute(
        "INSERT INTO sexton.job (name, kind, inputs, resources)
           VALUES ('per-tenant', 'steps', '{\"tenant\": \"text\"}', '[\"app:{tenant}\", {\"name\": \"all\", \"shared\": true}]')",
    )
    .await;
    db.planned("per-tenant").await;
    let ask = "SELECT sexton.run_now('per-tenant', '{}', $1)";
    db.client.execute(ask, &[&json!({"tenant": "4\"2"})]).await.unwrap();
    let hand = Hand::claim(&db, "per-tenant").await;
    let wanted = json!(["app:4\"2", {"name": "all", "shared": true}]);
    assert_eq!(db.last_run::<Value>("per-tenant", "resources").await, wanted);
    drop(hand);
}

#[tokio::test]
async fn what_is_no_resource_is_named_with_its_remedy() {
    let db = Db::new().await;
    for (resources, parts) in [
        (json!([""]), ["is no resource", "app:42"]),
        (json!([7]), ["7 is no resource", "app:42"]),
        (json!([{"name": "a", "share": true}]), ["is no resource", "\"shared\": true"]),
        (json!(["a", {"name": "a", "shared": true}]), ["\"a\" is there twice", "once"]),
        (json!(["table:1"]), ["taken by Sexton", "shares_table"]),
        (json!(["app:{tenant}"]), ["an input that is not declared", "Declare \"tenant\""]),
    ] {
        let sql = "INSERT INTO sexton.job (name, kind, resources) VALUES ('bad', 'steps', $1)";
        let error = db.client.execute(sql, &[&resources]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        let text = format!("{}. {}", error.message(), error.hint().unwrap_or_default());
        for part in parts {
            assert!(text.contains(part) && text.contains("job bad: resources"), "{resources}: {text}");
        }
    }
}

#[tokio::test]
async fn names_that_nobody_uses_go_and_one_that_is_held_stays() {
    let db = Db::new().await;
    due(&db, "holder", json!(["held"]), json!({})).await;
    let holder = Hand::claim(&db, "holder").await;
    db.execute("SELECT sexton.take_resources('[\"young\"]'); SELECT sexton.give_all(); SELECT sexton.take_resources('[\"old\"]'); SELECT sexton.give_all()")
        .await;
    db.execute("UPDATE sexton.resource SET created_at = now() - interval '2 days' WHERE name <> 'young'")
        .await;
    db.execute("SELECT sexton.prune_resources()").await;
    let left = "SELECT string_agg(name, ' ' ORDER BY name) FROM sexton.resource";
    assert_eq!(db.get::<String>(left, &[]).await, "held young");
    // It is looked at again tomorrow; were it ours, it would stay as well.
    let own = "UPDATE sexton.resource SET created_at = now() - interval '2 days'";
    db.execute(own).await;
    holder.client.batch_execute("SELECT sexton.prune_resources()").await.unwrap();
    assert_eq!(db.get::<String>(left, &[]).await, "held");
}
