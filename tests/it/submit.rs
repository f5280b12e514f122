//! One-offs of manual jobs: `sexton.submit`.

use serde_json::{Value, json};
use sexton::kind::Nature;
use tokio_postgres::Client;

use crate::support::{Db, Hand, Replica, code, detail};

/// A manual job of the kind `steps` that takes a tenant.
async fn erase(db: &Db, max_running: i32, params: Value) {
    let sql = "INSERT INTO sexton.job (name, kind, params, inputs, max_running, backoff)
               VALUES ('erase', 'steps', $1, '{\"tenant\": \"bigint\"}', $2, '0')";
    db.client.execute(sql, &[&params, &max_running]).await.unwrap();
    db.planned("erase").await;
}

/// What `submit` answers.
async fn submit(client: &Client, tenant: i64, key: Option<&str>) -> String {
    let sql = "SELECT sexton.submit('erase', jsonb_build_object('tenant', $1::bigint), key => $2)";
    client.query_one(sql, &[&tenant, &key]).await.unwrap().get(0)
}

/// The name in such an answer.
fn named(answer: &str) -> String {
    answer.split(' ').next().unwrap().to_owned()
}

const ONE_OFFS: &str = "SELECT count(*) FROM sexton.one_offs";
const TENANTS: &str = "SELECT coalesce(string_agg(inputs ->> 'tenant', ' ' ORDER BY started_at), '') FROM sexton.run WHERE state = 'succeeded'";
/// The most runs of one-offs that were on their way at the same time.
const AT_A_TIME: &str = "SELECT max(n) FROM (SELECT (SELECT count(*) FROM sexton.run b WHERE b.parent_id = a.parent_id
    AND b.started_at <= a.started_at AND coalesce(b.finished_at, 'infinity') > a.started_at) AS n FROM sexton.run a) c";

#[tokio::test]
async fn it_is_part_of_the_callers_transaction() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    let mut app = db.session().await;
    let replica = Replica::start(&db);
    let transaction = app.transaction().await.unwrap();
    let ask = "SELECT sexton.submit('erase', '{\"tenant\": 7}')";
    transaction.query_one(ask, &[]).await.unwrap();
    transaction.rollback().await.unwrap();
    let transaction = app.transaction().await.unwrap();
    transaction.query_one(&ask.replace('7', "8"), &[]).await.unwrap();
    assert_eq!(db.get::<i64>(ONE_OFFS, &[]).await, 0, "nobody sees it before the commit");
    transaction.commit().await.unwrap();
    db.until("it is done, and gone", "SELECT count(*) = 1 FROM sexton.run WHERE state = 'succeeded'", &[])
        .await;
    db.until("it is gone", "SELECT count(*) = 1 FROM sexton.job", &[]).await;
    assert_eq!(db.get::<String>(TENANTS, &[]).await, "8");
    let kept = "SELECT job LIKE 'erase~%' AND origin = 'submit' AND rows_done = 3 FROM sexton.runs";
    assert!(db.get::<bool>(kept, &[]).await, "the history keeps it");
    assert_eq!(
        db.get::<i64>("SELECT count(*) FROM sexton.jobs", &[]).await,
        1,
        "lists jobs, and not their one-offs"
    );
    replica.drain().await;
}

#[tokio::test]
async fn of_one_key_one_is_pending_and_none_runs_beside_another() {
    let db = Db::new().await;
    erase(&db, 4, json!({"hold_before": 2})).await;
    let first = submit(&db.client, 7, Some("tenant 7")).await;
    let again = submit(&db.client, 7, Some("tenant 7")).await;
    assert_eq!(named(&first), named(&again));
    assert!(first.ends_with("is submitted.") && again.contains("is pending already"), "{first} {again}");
    assert_ne!(named(&submit(&db.client, 7, None).await), named(&first), "without a key each is one more");
    db.execute("DELETE FROM sexton.job WHERE submit_key IS NULL AND parent_id IS NOT NULL").await;
    let replica = Replica::start(&db);
    let running = "SELECT state = 'running' FROM sexton.one_offs WHERE name = $1";
    db.until("it runs", running, &[&named(&first)]).await;
    // What is submitted now may be about what the running one has passed already.
    let next = submit(&db.client, 7, Some("tenant 7")).await;
    assert!(next.ends_with("is submitted."), "{next}");
    assert_eq!(named(&submit(&db.client, 7, Some("tenant 7")).await), named(&next));
    let why = db.verb("why", &named(&next)).await;
    assert!(why.contains("another one-off with the key \"tenant 7\""), "{why}");
    db.open_gate("gate").await;
    db.until("both ran", "SELECT count(*) = 2 FROM sexton.run WHERE state = 'succeeded'", &[]).await;
    assert_eq!(db.get::<i64>(AT_A_TIME, &[]).await, 1);
    db.assert_exact().await;
    replica.drain().await;
}

/// The caller's transaction and the claim are ordered: whoever is answered "pending" is seen by the run that is.
#[tokio::test]
async fn a_pending_one_waits_for_the_transaction_that_met_it() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    let name = named(&submit(&db.client, 7, Some("k")).await);
    let mut app = db.session().await;
    let transaction = app.transaction().await.unwrap();
    transaction.query_one("SELECT sexton.submit('erase', '{\"tenant\": 7}', NULL, 'k')", &[]).await.unwrap();
    let client = db.session().await;
    client.batch_execute("SET lock_timeout = '50ms'").await.unwrap();
    let row = client
        .query_one(
            "SELECT j.id, j.lock_id, m.lock_class FROM sexton.job j, sexton.meta m WHERE name = $1",
            &[&name],
        )
        .await
        .unwrap();
    let (id, lock, class): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
    client.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&class, &lock]).await.unwrap();
    let refused = Hand::claim_at(client, id, 0, Nature::Database).await;
    assert_eq!(code(refused.map(|answer| answer.result)), "55P03", "its row is the transaction's");
    transaction.commit().await.unwrap();
    Hand::claim(&db, &name).await;
}

#[tokio::test]
async fn no_more_run_at_a_time_than_may() {
    let db = Db::new().await;
    erase(&db, 2, json!({"steps": 2})).await;
    let replicas: Vec<Replica> = (0..4).map(|_| Replica::start(&db)).collect();
    db.execute(
        "SELECT sexton.submit('erase', jsonb_build_object('tenant', n)) FROM generate_series(1, 30) n",
    )
    .await;
    db.until("all ran", "SELECT count(*) = 30 FROM sexton.run WHERE state = 'succeeded'", &[]).await;
    assert_eq!(db.get::<i64>(AT_A_TIME, &[]).await, 2);
    assert_eq!(db.get::<i64>("SELECT count(DISTINCT inputs) FROM sexton.run", &[]).await, 30);
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run", &[]).await, 30, "no run failed or was lost");
    for replica in replicas {
        replica.drain().await;
    }
}

/// The control to it: where places are not counted, the same thirty are found side by side.
#[tokio::test]
async fn without_the_count_more_run() {
    let db = Db::new().await;
    db.execute("CREATE OR REPLACE FUNCTION sexton.no_place(j sexton.job) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'").await;
    erase(&db, 1, json!({})).await;
    let names = [submit(&db.client, 1, None).await, submit(&db.client, 2, None).await];
    let hands = [Hand::claim(&db, &named(&names[0])).await, Hand::claim(&db, &named(&names[1])).await];
    assert_eq!(db.get::<i64>(AT_A_TIME, &[]).await, 2);
    drop(hands);
}

#[tokio::test]
async fn wrong_inputs_are_named_at_once() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    db.insert("daily", "steps", "daily 03:00", json!({})).await;
    for (inputs, parts) in [
        ("{}", ["\"tenant\" is missing", "needs a value"]),
        ("{\"tenant\": 7, \"tenent\": 8}", ["\"tenent\" is not declared", "Declared: tenant"]),
        ("{\"tenant\": \"seven\"}", ["\"tenant\" is \"seven\", which is no bigint", "bigint"]),
        ("{\"tenant\": [7]}", ["\"tenant\" is [7]", "bigint"]),
        ("[7]", ["is no object", "{\"name\": value}"]),
    ] {
        for verb in ["submit", "run_now"] {
            refused(&db, &format!("sexton.{verb}('erase', inputs => '{inputs}')"), parts).await;
        }
    }
    for (ask, parts) in [
        ("'erase', '{\"tenant\": 7}', key => ''", ["key: takes 1 to 500 characters", "Leave it out"]),
        ("'daily', '{}'", ["job daily: has a schedule", "\"manual\""]),
        ("'eraze', '{}'", ["there is no job \"eraze\"", "daily, erase"]),
    ] {
        refused(&db, &format!("sexton.submit({ask})"), parts).await;
    }
    assert_eq!(db.get::<i64>(ONE_OFFS, &[]).await, 0);
    assert!(db.job::<bool>("erase", "due_at IS NULL").await, "none of it made it due");
}

async fn refused(db: &Db, ask: &str, parts: [&str; 2]) {
    let error = db.client.query_one(&format!("SELECT {ask}"), &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    let text = format!("{}. {}", error.message(), error.hint().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "{ask}: {text}");
    }
}

#[tokio::test]
async fn it_waits_for_its_due_time_or_the_sooner_of_two() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    db.execute("SELECT sexton.submit('erase', '{\"tenant\": 1}', now() + interval '1 day', 'k')").await;
    db.execute("SELECT sexton.submit('erase', '{\"tenant\": 2}', now() + interval '1 day')").await;
    let replica = Replica::start(&db);
    submit(&db.client, 1, Some("k")).await;
    db.until("it ran", "SELECT count(*) = 1 FROM sexton.run WHERE state = 'succeeded'", &[]).await;
    assert_eq!(db.get::<String>(TENANTS, &[]).await, "1");
    let other = "SELECT state FROM sexton.one_offs WHERE due_at > now()";
    assert_eq!(db.get::<String>(other, &[]).await, "idle");
    replica.drain().await;
}

#[tokio::test]
async fn a_failing_one_is_tried_again_and_then_gone_and_its_job_counts_it() {
    let db = Db::new().await;
    erase(&db, 4, json!({"fail_at": 2})).await;
    db.execute("UPDATE sexton.job SET max_attempts = 2, pause_after = 2").await;
    let replica = Replica::start(&db);
    let name = named(&submit(&db.client, 7, Some("k")).await);
    db.until_outcomes(&name, "failed failed").await;
    db.until("it is gone", "SELECT count(*) = 1 FROM sexton.job", &[]).await;
    assert_eq!(db.job::<i32>("erase", "failure_count").await, 1);
    submit(&db.client, 8, None).await;
    db.until_job("erase", "paused_by = 'sexton'").await;
    assert_eq!(db.notices("erase").await, "failed failed paused_itself");
    assert!(submit(&db.client, 9, None).await.contains("It waits, for erase is paused."));
    replica.drain().await;
}

#[tokio::test]
async fn a_lost_one_goes_on_at_its_cursor() {
    let db = Db::new().await;
    erase(&db, 1, json!({"hold_before": 3})).await;
    let name = named(&submit(&db.client, 7, Some("k")).await);
    let doomed = Replica::start(&db);
    db.until_steps(&name, 2).await;
    doomed.crash().await;
    db.open_gate("gate").await;
    let replica = Replica::start(&db);
    db.until_outcomes(&name, "lost succeeded").await;
    assert_eq!(db.steps(&name).await, "1 2 3");
    db.assert_exact().await;
    replica.drain().await;
}

/// Definition and switches are its job's: each verb on that is a barrier for its one-offs too.
#[tokio::test]
async fn what_becomes_of_its_job_becomes_of_it() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    let name = named(&submit(&db.client, 7, None).await);
    let hand = Hand::claim(&db, &name).await;
    hand.batch(0).await.unwrap();
    db.verb("pause", "erase").await;
    assert_eq!(detail(hand.batch(1).await), "paused");
    hand.finish("released", 1).await.unwrap();
    hand.die(&db).await;
    assert_eq!(Hand::try_claim(&db, &name, Nature::Database).await.reason, "paused");
    db.verb("resume", "erase").await;
    let hand = Hand::claim(&db, &name).await;
    db.execute("UPDATE sexton.job SET params = '{\"steps\": 5}' WHERE name = 'erase'").await;
    assert_eq!(detail(hand.batch(0).await), "edited");
    hand.finish("superseded", 0).await.unwrap();
    hand.die(&db).await;
    assert_eq!(Hand::try_claim(&db, &name, Nature::Database).await.reason, "not validated");
    db.execute("SELECT sexton.accept(id, revision) FROM sexton.job WHERE name = 'erase'").await;
    let hand = Hand::claim_as(&db, &name, Nature::Destructive).await;
    assert_eq!(hand.mode, "dry");
    hand.finish("released", 0).await.unwrap();
    hand.die(&db).await;
    db.verb("arm", "erase").await;
    let hand = Hand::claim_as(&db, &name, Nature::Destructive).await;
    assert_eq!(hand.mode, "real");
    db.verb("disarm", "erase").await;
    assert_eq!(detail(hand.batch(0).await), "disarmed");
    db.execute("DELETE FROM sexton.job WHERE name = 'erase'").await;
    assert_eq!(detail(hand.batch(0).await), "gone");
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.job", &[]).await, 0);
}

/// Neither transaction sees the other; the claim finds the difference.
#[tokio::test]
async fn an_edit_and_a_submit_that_do_not_see_one_another_agree_in_the_end() {
    let db = Db::new().await;
    erase(&db, 4, json!({"steps": 1})).await;
    let mut app = db.session().await;
    let mut author = db.session().await;
    let edit = author.transaction().await.unwrap();
    let submitted = app.transaction().await.unwrap();
    submitted.query_one("SELECT sexton.submit('erase', '{\"tenant\": 7}')", &[]).await.unwrap();
    edit.execute("UPDATE sexton.job SET params = '{\"steps\": 2}' WHERE name = 'erase'", &[]).await.unwrap();
    edit.execute("SELECT sexton.accept(id, revision) FROM sexton.job WHERE name = 'erase'", &[])
        .await
        .unwrap();
    edit.commit().await.unwrap();
    submitted.commit().await.unwrap();
    let name: String = db.get("SELECT name FROM sexton.one_offs", &[]).await;
    assert_eq!(db.job::<Value>(&name, "params").await, json!({"steps": 1}), "the race is there");
    let refused = Hand::try_claim(&db, &name, Nature::Database).await;
    assert!(refused.reason.contains("erase was edited"), "{}", refused.reason);
    let replica = Replica::start(&db);
    db.until_outcomes(&name, "succeeded").await;
    assert_eq!(db.last_run::<Value>(&name, "params").await, json!({"steps": 2}));
    assert_eq!(db.last_run::<i64>(&name, "batches").await, 2);
    replica.drain().await;
}

#[tokio::test]
async fn it_has_no_switches_of_its_own() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    let name = named(&submit(&db.client, 7, None).await);
    for verb in ["pause", "arm", "disarm", "run_now", "submit"] {
        let error = db.client.query_one(&format!("SELECT sexton.{verb}($1)"), &[&name]).await.unwrap_err();
        let text = error.as_db_error().unwrap().message().to_owned();
        assert!(text.contains("is a one-off of erase"), "{verb}: {text}");
    }
    // What is written past the functions comes to nothing.
    db.execute(&format!("UPDATE sexton.job SET params = '{{\"steps\": 99}}', armed_revision = 9, armed_at = now(), resources = '[1]', kind = 'other' WHERE name = '{name}'"))
        .await;
    let same = "SELECT (o.kind, o.params, o.resources, o.armed_revision) IS NOT DISTINCT FROM (p.kind, p.params, p.resources, p.armed_revision)
                FROM sexton.job o JOIN sexton.job p ON p.id = o.parent_id";
    assert!(db.get::<bool>(same, &[]).await);
    db.verb("cancel", &name).await;
    assert_eq!(db.get::<i64>(ONE_OFFS, &[]).await, 0);
}

#[tokio::test]
async fn an_application_needs_no_more_than_the_one_function() {
    let db = Db::new().await;
    erase(&db, 4, json!({})).await;
    let role: String = db.get("SELECT 'app_in_' || current_database()", &[]).await;
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA sexton TO {role};
         GRANT EXECUTE ON FUNCTION sexton.submit(text, jsonb, timestamptz, text) TO {role}"
    ))
    .await;
    let app = db.session_as(&role).await;
    submit(&app, 7, Some("k")).await;
    assert_eq!(code(app.query("SELECT * FROM sexton.job", &[]).await), "42501");
    assert_eq!(db.get::<i64>(ONE_OFFS, &[]).await, 1);
}

#[tokio::test]
async fn three_hundred_tenants_on_four_replicas_run_once_each_and_the_history_stays_bounded() {
    let db = Db::new().await;
    erase(&db, 8, json!({"steps": 1})).await;
    db.execute("UPDATE sexton.meta SET keep_one_offs = 100").await;
    let replicas: Vec<Replica> = (0..4).map(|_| Replica::start(&db)).collect();
    db.execute("SELECT sexton.submit('erase', jsonb_build_object('tenant', n), key => n::text) FROM generate_series(1, 300) n").await;
    db.until("all are gone", "SELECT count(*) = 1 FROM sexton.job", &[]).await;
    let once = "SELECT count(*) = 300 AND count(DISTINCT job) = 300 FROM public.ledger";
    assert!(db.get::<bool>(once, &[]).await);
    for replica in replicas {
        replica.drain().await;
    }
    // Every sixteenth looks, so that many more may be there at the most, and as many again that ended meanwhile.
    let kept: i64 = db.get("SELECT count(*) FROM sexton.run", &[]).await;
    assert!((100..=140).contains(&kept), "{kept} runs are kept");
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.revision", &[]).await, 1);
    assert!(db.get::<i64>("SELECT count(*) FROM sexton.audit", &[]).await < 5);
}

/// What an application closes a tenant with: the purge of the tenant's rows, as one-offs of one armed job.
#[tokio::test]
async fn a_purge_is_narrowed_by_its_input() {
    let db = Db::new().await;
    db.execute(
        "CREATE TABLE event (id bigserial PRIMARY KEY, tenant_id bigint NOT NULL, at timestamptz NOT NULL);
         CREATE INDEX ON event (tenant_id); CREATE INDEX ON event (at);
         INSERT INTO event (tenant_id, at) SELECT n % 5, now() - interval '9 days' FROM generate_series(0, 99) n;
         INSERT INTO sexton.job (name, kind, inputs, params) VALUES ('erase', 'purge', '{\"tenant\": \"bigint\"}',
           '{\"table\": \"event\", \"by\": \"at\", \"retention\": \"1 day\", \"where\": \"tenant_id = :tenant\"}')",
    )
    .await;
    let registry = sexton::Registry::with_builtins();
    let replicas: Vec<Replica> =
        (0..2).map(|_| Replica::with(&db, |builder| builder.registry(registry.clone()))).collect();
    db.until_job("erase", "planned").await;
    submit(&db.client, 1, None).await;
    let dry = "SELECT EXISTS (SELECT FROM sexton.run WHERE mode = 'dry' AND state = 'succeeded')";
    db.until("not armed it only reports", dry, &[]).await;
    db.verb("arm", "erase").await;
    for tenant in [2, 3, 4] {
        submit(&db.client, tenant, Some(&tenant.to_string())).await;
    }
    let done = "SELECT count(*) = 3 FROM sexton.run WHERE mode = 'real' AND state <> 'running'";
    db.until("three ran", done, &[]).await;
    let left = "SELECT string_agg(DISTINCT tenant_id::text, ' ') FROM event";
    assert_eq!(db.get::<String>(left, &[]).await, "0 1");
    assert_eq!(
        db.get::<i64>("SELECT sum(rows_done)::bigint FROM sexton.run WHERE mode = 'real'", &[]).await,
        60
    );
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn a_person_is_told_what_becomes_of_one() {
    let db = Db::new().await;
    erase(&db, 4, json!({"hold_before": 2})).await;
    let name = named(&submit(&db.client, 7, Some("tenant 7")).await);
    let replica = Replica::start(&db);
    db.until_steps(&name, 1).await;
    let why = db.verb("why", &name).await;
    let what = r#"A one-off of erase, with {"tenant": 7}, key "tenant 7". It is running on"#;
    assert!(why.starts_with(what), "{why}");
    let why = db.verb("why", "erase").await;
    let waits = "Nothing is due but its one-offs. Of its one-offs 1 running; sexton.one_offs lists them.";
    assert!(why.starts_with(waits), "{why}");
    db.open_gate("gate").await;
    db.until("it is gone", "SELECT count(*) = 1 FROM sexton.job", &[]).await;
    let gone = db.client.query("SELECT sexton.why($1)", &[&name]).await.unwrap_err();
    let said = gone.as_db_error().unwrap();
    assert!(said.message().contains("this one-off is done: succeeded at"), "{said}");
    assert!(said.hint().unwrap().contains(&format!("WHERE job = '{name}'")), "{said:?}");
    let last =
        "SELECT last_outcome = 'succeeded' AND last_success_at IS NOT NULL AND one_offs = 0 FROM sexton.jobs";
    assert!(db.get::<bool>(last, &[]).await, "its job tells how its one-offs did");
    replica.drain().await;
}
