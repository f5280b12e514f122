//! The kind `reset`: exactly the stuck rows change, and none that moved on meanwhile.

use serde_json::{Value, json};

use super::support::{detail, error};
use crate::support::Db;

/// Twelve migrations: ids 1 to 8 busy for two hours, 9 busy for a minute, 10 done, 11 of unknown age, 12 pending long.
async fn migrations() -> Db {
    let db = Db::new().await;
    db.execute(
        r#"CREATE TYPE "State" AS ENUM ('pending', 'busy', 'done', 'failed');
           CREATE TABLE "Migr ations" (id int PRIMARY KEY, tenant bigint, "the state" "State", "at" timestamptz, note text);
           INSERT INTO "Migr ations" SELECT i, i % 2, 'busy', now() - interval '2 hours', 'old' FROM generate_series(1, 8) i;
           INSERT INTO "Migr ations" VALUES (9, 1, 'busy', now() - interval '1 minute', 'young'),
             (10, 1, 'done', now() - interval '9 days', 'done'), (11, 1, 'busy', NULL, 'ageless'),
             (12, 1, 'pending', now() - interval '3 hours', 'old')"#,
    )
    .await;
    db
}

fn params() -> Value {
    json!({"table": "\"Migr ations\"", "column": "the state", "from": ["busy", "pending"], "to": "failed",
           "since": "at", "after": "1 hour"})
}

fn with(name: &str, value: Value) -> Value {
    let mut params = params();
    params[name] = value;
    params
}

const IDS: &str = r#"SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM "Migr ations" WHERE "the state" = 'failed'"#;

#[tokio::test]
async fn exactly_the_stuck_rows_change() {
    let db = migrations().await;
    let mut params = with("batch", json!(2));
    params["set"] = json!({"note": "it's stuck"});
    params["touch"] = json!("at");
    db.insert_manual("stuck", "reset", params).await;
    let ran = db.run("stuck").await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 9), "{ran:?}");
    assert!(ran.batches > 4, "batches are bounded: {ran:?}");
    assert_eq!(
        (detail(&ran, "stuck"), detail(&ran, "rows"), detail(&ran, "locked")),
        (&json!(9), &json!(9), &json!(0))
    );
    assert_eq!(db.get::<String>(IDS, &[]).await, "1 2 3 4 5 6 7 8 12");
    let touched = r#"SELECT bool_and((note = 'it''s stuck' AND at > now() - interval '1 hour') = ("the state" = 'failed'))
                       FROM "Migr ations" WHERE id NOT IN (9, 11)"#;
    assert!(db.get::<bool>(touched, &[]).await);
    let again = db.run("stuck").await;
    assert_eq!((again.rows, detail(&again, "stuck")), (0, &json!(0)));
}

#[tokio::test]
async fn a_dry_run_counts_and_a_limit_ends() {
    let db = migrations().await;
    db.insert_manual("stuck", "reset", params()).await;
    let options = sexton::kind::Options { dry_run: Some(true), ..Default::default() };
    let dry = db.occurrence("stuck").options(options).run().await.unwrap();
    assert_eq!((dry.mode.as_str(), detail(&dry, "would_reset")), ("dry", &json!(9)));
    assert_eq!(db.get::<String>(IDS, &[]).await, "");
    let options = sexton::kind::Options { limit_rows: Some(4), ..Default::default() };
    let ran = db.occurrence("stuck").options(options).run().await.unwrap();
    assert_eq!(
        (ran.rows, detail(&ran, "stopped"), detail(&ran, "left")),
        (4, &json!("limit_rows"), &json!(5))
    );
}

#[tokio::test]
async fn a_row_that_somebody_works_on_stays() {
    let db = migrations().await;
    db.insert_manual("stuck", "reset", params()).await;
    let mut worker = db.session().await;
    let transaction = worker.transaction().await.unwrap();
    transaction
        .execute(r#"UPDATE "Migr ations" SET "the state" = 'done' WHERE id IN (1, 2)"#, &[])
        .await
        .unwrap();
    let ran = db.run("stuck").await;
    assert_eq!((ran.rows, detail(&ran, "locked")), (7, &json!(2)));
    transaction.commit().await.unwrap();
    assert_eq!(db.get::<String>(IDS, &[]).await, "3 4 5 6 7 8 12");
}

#[tokio::test]
async fn a_lost_run_goes_on_with_its_cutoff_and_its_limit() {
    let db = migrations().await;
    let mut params = with("batch", json!(2));
    params["limit_rows"] = json!(6);
    db.insert_manual("stuck", "reset", params).await;
    let lost = db.occurrence("stuck").kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), lost.rows), ("running", 4));
    // Old enough for a cutoff of now, but not for that of the first attempt.
    db.execute(r#"UPDATE "Migr ations" SET "at" = now() - interval '1 hour' WHERE id = 9"#).await;
    let ran = db.run("stuck").await;
    assert_eq!((ran.state.as_str(), ran.attempt, ran.rows), ("succeeded", 2, 2), "{ran:?}");
    assert_eq!(detail(&ran, "rows"), &json!(6));
    assert!(!db.get::<String>(IDS, &[]).await.contains('9'));
}

#[tokio::test]
async fn inputs_and_odd_types_are_bound() {
    let db = migrations().await;
    let sql = "INSERT INTO sexton.job (name, kind, schedule, params, inputs)
               VALUES ('stuck', 'reset', 'manual', $1, '{\"tenant\": \"bigint\"}')";
    db.client.execute(sql, &[&with("where", json!("tenant = :tenant OR false -- all"))]).await.unwrap();
    let ran = db.occurrence("stuck").inputs(json!({"tenant": 0})).run().await.unwrap();
    assert_eq!(
        (ran.state.as_str(), db.get::<String>(IDS, &[]).await.as_str()),
        ("succeeded", "2 4 6 8"),
        "{ran:?}"
    );
    let bad = db.occurrence("stuck").inputs(json!({"tenant": "seven"})).run().await.unwrap_err();
    assert!(bad.to_string().contains("\"tenant\" is \"seven\", which is no bigint"), "{bad}");

    db.execute(
        "CREATE TABLE parted (k int, state int, at timestamp, PRIMARY KEY (k)) PARTITION BY RANGE (k);
         CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (5);
         CREATE TABLE p2 PARTITION OF parted FOR VALUES FROM (5) TO (9);
         INSERT INTO parted SELECT k, 1, (now() AT TIME ZONE 'UTC') - interval '59 min' * (k % 3) FROM generate_series(0, 8) k;
         ALTER DATABASE CURRENT_DATABASE_NAME SET timezone = 'Asia/Tokyo'"
            .replace("CURRENT_DATABASE_NAME", db.config.get_dbname().unwrap())
            .as_str(),
    )
    .await;
    let params = json!({"table": "parted", "column": "state", "from": 1, "to": -1, "since": "at + interval '0'",
                        "after": 3600, "batch": 2, "touch": "at"});
    db.insert_manual("parted", "reset", params).await;
    let ran = db.run("parted").await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 3), "{ran:?}");
    let young =
        "SELECT bool_and(at > (now() AT TIME ZONE 'UTC') - interval '5 min') FROM parted WHERE state = -1";
    assert!(db.get::<bool>(young, &[]).await);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_remedy() {
    let db = migrations().await;
    for (name, params, parts) in [
        ("column", with("column", json!("stat")), ["params.column", "no column \"stat\""]),
        ("set", with("set", json!({"nope": 1})), ["params.set.nope", "no column"]),
        ("touch", with("touch", json!("note")), ["params.touch", "type text"]),
        ("since", with("since", json!("note")), ["params.since", "type text"]),
        ("injected", with("since", json!("at) < now() OR (true")), ["params.since", "syntax error"]),
        ("where", with("where", json!("id")), ["params.where", "not boolean"]),
        ("input", with("where", json!("tenant = :tenant")), [":tenant", "declare it"]),
        ("to", with("to", json!("faild")), ["params.to", "faild"]),
    ] {
        db.insert_manual(name, "reset", params).await;
        let ran = db.run(name).await;
        assert_eq!(ran.state, "refused", "{name}: {ran:?}");
        for part in parts {
            assert!(error(&ran).contains(part), "{name}: {ran:?} does not say {part}");
        }
    }
    assert_eq!(db.get::<String>(IDS, &[]).await, "");
}

#[tokio::test]
async fn a_trigger_that_sets_the_state_back_is_no_endless_loop() {
    let db = migrations().await;
    db.execute(
        r#"CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW."the state" := OLD."the state"; RETURN NEW; END $$;
           CREATE TRIGGER back BEFORE UPDATE ON "Migr ations" FOR EACH ROW EXECUTE FUNCTION back()"#,
    )
    .await;
    db.insert_manual("stuck", "reset", params()).await;
    let ran = db.run("stuck").await;
    assert_eq!(ran.state, "failed");
    assert!(error(&ran).contains("no progress") && error(&ran).contains("trigger"), "{ran:?}");
}

#[tokio::test]
async fn a_job_has_no_more_rights_than_its_editor() {
    let db = migrations().await;
    db.execute(
        r#"CREATE ROLE reset_author LOGIN; GRANT USAGE ON SCHEMA sexton TO reset_author; GRANT SELECT, INSERT ON sexton.job TO reset_author;
           GRANT SELECT ON "Migr ations" TO reset_author; GRANT USAGE ON SEQUENCE sexton.lock_id TO reset_author;
           CREATE ROLE reset_replica LOGIN IN ROLE sexton_runner"#,
    )
    .await;
    let author = sexton::protocol::connect::Connector::from(db.config_of("reset_author"));
    let author = author.open("author", &[]).await.unwrap().client;
    let sql =
        "INSERT INTO sexton.job (name, kind, schedule, params) VALUES ('theirs', 'reset', 'manual', $1)";
    author.execute(sql, &[&params()]).await.unwrap();
    let ran = db.run("theirs").await;
    assert_eq!(ran.state, "refused");
    assert!(error(&ran).contains("reset_author"), "{ran:?}");

    db.insert_manual("ours", "reset", params()).await;
    db.execute("GRANT EXECUTE ON FUNCTION sexton.run_now(text, jsonb, jsonb) TO reset_replica").await;
    let ran = db.occurrence_as("ours", "reset_replica").run().await.unwrap();
    assert_eq!(ran.state, "refused");
    assert!(
        error(&ran).contains(r#"GRANT SELECT, UPDATE ON public."Migr ations" TO reset_replica"#),
        "{ran:?}"
    );
    db.execute(r#"GRANT SELECT, UPDATE ON "Migr ations" TO reset_replica"#).await;
    assert_eq!(db.occurrence_as("ours", "reset_replica").run().await.unwrap().rows, 9);
}
