//! The kind `fan_out`, with the one-offs that it makes.

use serde_json::{Value, json};
use sexton::{
    Registry,
    kind::Options,
    testing::{Occurrence, Ran},
};

use crate::support::{Db, Replica, Steps};

fn registry() -> Registry {
    let mut registry = Steps::registry();
    registry.add(sexton::kinds::fan_out::FanOut);
    registry
}

/// A table of that many tenants, a job for one, and a job `all` that fans out to it.
async fn tenants(count: i32, params: Value) -> Db {
    let db = Db::new().await;
    db.execute(&format!(
        "CREATE TABLE tenant (id bigint PRIMARY KEY, name text); INSERT INTO tenant SELECT n, 'tenant ' || n FROM generate_series(1, {count}) n;
         INSERT INTO sexton.job (name, kind, params, inputs, max_running, backoff)
           VALUES ('one', 'steps', '{{\"steps\": 1}}', '{{\"tenant\": \"bigint\"}}', 8, '0')"
    ))
    .await;
    db.planned("one").await;
    let mut all = json!({"query": "SELECT id AS tenant FROM tenant", "key": "tenant", "job": "one"});
    all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
    db.insert("all", "fan_out", "manual", all).await;
    db
}

fn occurrence(db: &Db) -> Occurrence {
    Occurrence::of("all", db.config.clone()).registry(registry())
}

async fn fan_out(db: &Db) -> Ran {
    occurrence(db).run().await.unwrap()
}

/// Rows, and of these new ones and such as were pending.
fn counts(ran: &Ran) -> (i64, i64, i64) {
    let report = ran.report.as_ref().unwrap_or_else(|| panic!("{ran:?}"));
    let count = |name: &str| report[name].as_i64().unwrap_or_else(|| panic!("{report}"));
    (count("rows"), count("submitted"), count("deduplicated"))
}

/// Lets replicas that know no fan-out do all that is pending.
async fn drained(db: &Db) {
    let replica = Replica::with(db, |builder| builder.slots(8));
    db.until(
        "all one-offs are gone",
        "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE parent_id IS NOT NULL)",
        &[],
    )
    .await;
    replica.drain().await;
}

/// How often the tenants were run, and how many of them.
async fn ran(db: &Db) -> (i64, i64) {
    let runs = "SELECT count(*) FROM sexton.run WHERE state = 'succeeded' AND parent_id IS NOT NULL";
    let distinct =
        "SELECT count(DISTINCT inputs) FROM sexton.run WHERE state = 'succeeded' AND parent_id IS NOT NULL";
    (db.get(runs, &[]).await, db.get(distinct, &[]).await)
}

#[tokio::test]
async fn two_hundred_tenants_over_four_replicas_each_exactly_once() {
    let db = tenants(200, json!({"batch": 30})).await;
    let replicas: Vec<Replica> =
        (0..4).map(|_| Replica::with(&db, |builder| builder.registry(registry()))).collect();
    db.until_job("all", "planned").await;
    db.verb("run_now", "all").await;
    db.until_outcomes("all", "succeeded").await;
    let report = db.last_run::<Value>("all", "report").await;
    assert_eq!((&report["submitted"], &report["deduplicated"]), (&json!(200), &json!(0)), "{report}");
    db.until("all are gone", "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE parent_id IS NOT NULL)", &[])
        .await;
    assert_eq!(ran(&db).await, (200, 200));
    let once = "SELECT count(*) = 200 AND count(DISTINCT job) = 200 FROM public.ledger";
    assert!(db.get::<bool>(once, &[]).await, "and each left one trace");
    for replica in replicas {
        replica.drain().await;
    }
}

/// The first attempt is lost, and what it submitted is done before the second: no key is pending that could tell.
async fn lost_half_way(db: &Db) -> Ran {
    let lost = occurrence(db).kill_after_batches(3).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.rows), ("running", 30));
    drained(db).await;
    fan_out(db).await
}

#[tokio::test]
async fn a_lost_one_goes_on_behind_the_last_row() {
    let db = tenants(55, json!({"batch": 10})).await;
    let second = lost_half_way(&db).await;
    assert_eq!((second.state.as_str(), second.attempt), ("succeeded", 2));
    assert_eq!(counts(&second), (55, 55, 0), "what all attempts did");
    drained(&db).await;
    assert_eq!(ran(&db).await, (55, 55));
}

/// The control to it: without its position the second attempt submits what was done.
#[tokio::test]
async fn without_the_position_rows_are_submitted_twice() {
    let db = tenants(55, json!({"batch": 10})).await;
    db.execute(
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.cursor := NULL; RETURN NEW; END';
         CREATE TRIGGER forget BEFORE INSERT ON sexton.run_part FOR EACH ROW EXECUTE FUNCTION forget()",
    )
    .await;
    lost_half_way(&db).await;
    drained(&db).await;
    assert_eq!(ran(&db).await, (85, 55));
}

#[tokio::test]
async fn what_is_pending_is_not_submitted_again() {
    let db = tenants(5, json!({})).await;
    assert_eq!(counts(&fan_out(&db).await), (5, 5, 0));
    db.execute("INSERT INTO tenant VALUES (6)").await;
    assert_eq!(counts(&fan_out(&db).await), (6, 1, 5));
    drained(&db).await;
    assert_eq!(ran(&db).await, (6, 6));
    assert_eq!(counts(&fan_out(&db).await), (6, 6, 0), "the next occurrence is for all of them again");
}

/// Whoever submits few is not behind whoever submitted many before; nor is a job of its own.
#[tokio::test]
async fn no_source_starves_another() {
    let db = tenants(60, json!({})).await;
    db.execute("UPDATE sexton.job SET max_running = 1 WHERE name = 'one'").await;
    fan_out(&db).await;
    db.execute(
        "SELECT sexton.submit('one', jsonb_build_object('tenant', 1000 + n)) FROM generate_series(1, 3) n",
    )
    .await;
    db.steps_job("own", json!({})).await;
    db.planned("own").await;
    db.verb("run_now", "own").await;
    let replica = Replica::with(&db, |builder| builder.slots(2));
    db.until(
        "the few are done",
        "SELECT count(*) = 3 FROM sexton.run WHERE state = 'succeeded' AND (inputs ->> 'tenant')::int > 1000",
        &[],
    )
    .await;
    db.until_outcomes("own", "succeeded").await;
    let left: i64 = db.get("SELECT count(*) FROM sexton.one_offs", &[]).await;
    assert!(left >= 30, "{left} of the many are left");
    drained(&db).await;
    assert_eq!(ran(&db).await, (63, 63));
    replica.drain().await;
}

#[tokio::test]
async fn it_waits_for_room_and_for_the_end_where_told_to() {
    let db = tenants(30, json!({"batch": 10, "max_pending": 10, "wait": true})).await;
    let replica = Replica::with(&db, |builder| builder.registry(registry()));
    let most = tokio::spawn({
        let client = db.session().await;
        async move {
            let mut most = 0_i64;
            let sql = "SELECT (SELECT count(*) FROM sexton.one_offs), (SELECT count(*) FROM sexton.run WHERE job_name = 'all' AND state = 'succeeded')";
            loop {
                let row = client.query_one(sql, &[]).await.unwrap();
                most = most.max(row.get(0));
                if row.get::<_, i64>(1) == 1 {
                    return most;
                }
            }
        }
    });
    db.until_job("all", "planned").await;
    db.verb("run_now", "all").await;
    db.until_outcomes("all", "succeeded").await;
    assert_eq!(ran(&db).await, (30, 30), "it did not end before them");
    let most = most.await.unwrap();
    assert!((1..20).contains(&most), "{most} were pending");
    replica.drain().await;
}

#[tokio::test]
async fn a_dry_run_counts_and_a_limit_ends() {
    let db = tenants(9, json!({"batch": 2})).await;
    let options = Options { dry_run: Some(true), ..Options::default() };
    let dry = occurrence(&db).options(options).run().await.unwrap();
    assert_eq!(dry.report.unwrap()["would_submit"], 9);
    let options = Options { limit_rows: Some(5), ..Options::default() };
    let limited = occurrence(&db).options(options).run().await.unwrap();
    assert_eq!(
        (counts(&limited), &limited.report.as_ref().unwrap()["stopped"]),
        ((5, 5, 0), &json!("limit_rows"))
    );
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.one_offs", &[]).await, 5);
}

#[tokio::test]
async fn keys_of_other_types_and_inputs_of_its_own() {
    let db = tenants(12, json!({})).await;
    db.execute(
        "UPDATE sexton.job SET inputs = '{\"below\": \"bigint\"}', params = $$
           {\"query\": \"SELECT name AS \\\"the key\\\", id AS tenant FROM tenant WHERE id < :below -- few\", \"key\": \"the key\", \"job\": \"one\", \"batch\": 2}$$
         WHERE name = 'all'",
    )
    .await;
    let few = occurrence(&db).inputs(json!({"below": 8})).run().await.unwrap();
    assert_eq!(counts(&few), (7, 7, 0));
    let keys = "SELECT string_agg(key, ', ' ORDER BY inputs ->> 'tenant') FROM sexton.one_offs";
    assert!(db.get::<String>(keys, &[]).await.starts_with("tenant 1, tenant 2, tenant 3"));
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_remedy() {
    let db = tenants(3, json!({})).await;
    db.execute("INSERT INTO sexton.job (name, kind, schedule) VALUES ('daily', 'steps', 'daily 03:00')")
        .await;
    for (params, parts) in [
        (json!({"job": "nobody"}), ["there is no job \"nobody\"", "create it"]),
        (json!({"job": "daily"}), ["daily has a schedule", "\"manual\""]),
        (json!({"key": "id"}), ["gives no column \"id\", but tenant", "select it"]),
        (
            json!({"query": "SELECT id FROM tenant", "key": "id"}),
            ["declares the input \"tenant\"", "AS \"tenant\""],
        ),
        (
            json!({"query": "SELECT id AS tenant, name FROM tenant"}),
            ["declares no input \"name\"", "declare it"],
        ),
        (json!({"query": "SELECT nothing FROM tenant"}), ["params.query", "does not exist"]),
        (
            json!({"query": "SELECT NULL::bigint AS tenant"}),
            ["params.key: a row has no key", "leave such rows out"],
        ),
        (
            json!({"query": "SELECT 'x' AS tenant"}),
            ["\"tenant\" is \"x\", which is no bigint", "declared as bigint"],
        ),
    ] {
        let db_params = {
            let mut all = json!({"query": "SELECT id AS tenant FROM tenant", "key": "tenant", "job": "one"});
            all.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
            all
        };
        db.client
            .execute("UPDATE sexton.job SET params = $1 WHERE name = 'all'", &[&db_params])
            .await
            .unwrap();
        let ran = fan_out(&db).await;
        assert_eq!(ran.state, "refused", "{params}: {ran:?}");
        for part in parts {
            assert!(ran.error.as_deref().unwrap().contains(part), "{params}: {ran:?}");
        }
    }
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.one_offs", &[]).await, 0);
}

#[tokio::test]
async fn whoever_may_not_submit_cannot_fan_out() {
    let db = tenants(3, json!({})).await;
    let role: String = db.get("SELECT 'outsider_in_' || current_database()", &[]).await;
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON tenant TO {role}; UPDATE sexton.job SET edited_by = '{role}', run_as = '{role}' WHERE name = 'all';
         UPDATE sexton.job SET edited_by = '{role}' WHERE name = 'all'"
    ))
    .await;
    let ran = fan_out(&db).await;
    assert_eq!(ran.state, "refused");
    let error = ran.error.unwrap();
    assert!(
        error.contains("may not submit") && error.contains("GRANT EXECUTE ON FUNCTION sexton.submit"),
        "{error}"
    );
    // With the right to, its query still has no more rights than its role.
    db.execute(&format!("GRANT USAGE ON SCHEMA sexton TO {role}; GRANT EXECUTE ON FUNCTION sexton.submit(text, jsonb, timestamptz, text) TO {role}"))
        .await;
    assert_eq!(fan_out(&db).await.state, "succeeded");
    db.execute(&format!("REVOKE SELECT ON tenant FROM {role}")).await;
    let ran = fan_out(&db).await;
    assert_eq!(ran.state, "failed");
    assert!(ran.error.unwrap().contains("permission denied for table tenant"));
}
