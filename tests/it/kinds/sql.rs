//! The kind `sql`: the statement has its role's rights and no others, commits with its fence, and is repeated until it
//! affects nothing.

use serde_json::{Value, json};
use sexton::{kind::Options, testing::Ran};

use super::support::{detail, error};
use crate::support::Db;

/// A hundred rows of the application.
async fn application() -> Db {
    let db = Db::new().await;
    db.execute("CREATE TABLE item (id int PRIMARY KEY, tenant bigint, note text); CREATE TABLE secret (word text);
                INSERT INTO item SELECT i, i % 4, 'x' FROM generate_series(1, 100) i; INSERT INTO secret VALUES ('sesame')")
        .await;
    db
}

impl Db {
    /// A job of kind `sql`, armed.
    async fn statement(&self, name: &str, params: Value) {
        self.insert_manual(name, "sql", params).await;
        self.arm(name).await;
    }

    /// The same under a role.
    async fn statement_as(&self, name: &str, role: &str, statement: &str) {
        let params = json!({"statement": statement, "keep_rows": 3});
        let sql = "INSERT INTO sexton.job (name, kind, schedule, params, run_as) VALUES ($1, 'sql', 'manual', $2, $3)";
        self.client.execute(sql, &[&name, &params, &role]).await.unwrap();
        self.arm(name).await;
    }

    async fn arm(&self, name: &str) {
        self.client.query("SELECT sexton.arm($1)", &[&name]).await.unwrap();
    }

    async fn items(&self) -> i64 {
        self.get("SELECT count(*) FROM item", &[]).await
    }
}

fn succeeded(ran: &Ran) {
    assert_eq!(ran.state, "succeeded", "{ran:?}");
}

#[tokio::test]
async fn a_statement_commits_with_its_fence() {
    let db = application().await;
    db.statement("one", json!({"statement": "DELETE FROM item WHERE id <= 10"})).await;
    let ran = db.run("one").await;
    succeeded(&ran);
    assert_eq!((ran.rows, ran.batches, detail(&ran, "rows"), db.items().await), (10, 1, &json!(10), 90));

    // Edited while it ran: nothing of it commits.
    let edit = "WITH e AS (UPDATE sexton.job SET params = params || '{\"keep_rows\": 3}' WHERE name = 'edits' RETURNING 1)
                DELETE FROM item USING e";
    db.statement("edits", json!({"statement": edit})).await;
    let ran = db.run("edits").await;
    assert_eq!((ran.state.as_str(), db.items().await), ("superseded", 90), "{ran:?}");
}

#[tokio::test]
async fn unarmed_it_only_looks() {
    let db = application().await;
    db.execute("ANALYZE item; CREATE FUNCTION wipe() RETURNS bigint LANGUAGE sql AS 'DELETE FROM item RETURNING 1::bigint'").await;
    for (name, statement) in [
        ("delete", "DELETE FROM item WHERE id <= 10"),
        ("hidden", "WITH d AS (DELETE FROM item RETURNING id) SELECT count(*) FROM d"),
        ("calls", "SELECT wipe()"),
        ("do", "DO $$ BEGIN DELETE FROM item; END $$"),
        ("reads", "SELECT id FROM item WHERE id < 3 ORDER BY id"),
    ] {
        db.insert_manual(name, "sql", json!({"statement": statement})).await;
        let ran = db.run(name).await;
        assert_eq!(
            (ran.state.as_str(), ran.mode.as_str(), db.items().await),
            ("succeeded", "dry", 100),
            "{ran:?}"
        );
        match name {
            "delete" => {
                assert!((5..=15).contains(&detail(&ran, "would_affect_about").as_u64().unwrap()), "{ran:?}")
            }
            "hidden" => assert_eq!(detail(&ran, "would_affect_about"), &json!(100)),
            "reads" => assert_eq!(detail(&ran, "answer"), &json!([{"id": 1}, {"id": 2}])),
            _ => assert!(detail(&ran, "not_tried").is_string(), "{ran:?}"),
        }
    }
}

#[tokio::test]
async fn a_health_check_fails_with_the_rows() {
    let db = application().await;
    let statement = "SELECT id, note FROM item WHERE id > 90 ORDER BY id";
    db.statement("check", json!({"statement": statement, "expect": "no rows", "keep_rows": 2})).await;
    let ran = db.run("check").await;
    assert_eq!(ran.state, "failed");
    assert!(error(&ran).contains("expected no rows, found 10"), "{ran:?}");
    assert_eq!(detail(&ran, "answer"), &json!([{"id": 91, "note": "x"}, {"id": 92, "note": "x"}]));
    assert_eq!(detail(&ran, "rows"), &json!(10));

    db.statement("bound", json!({"statement": "DELETE FROM item", "expect": {"max": 99}})).await;
    let ran = db.run("bound").await;
    assert!(error(&ran).contains("at most 99 rows affected, found 100"), "{ran:?}");
    assert_eq!(db.items().await, 100, "what was not expected is taken back");

    db.statement("wide", json!({"statement": "SELECT repeat('ä', 100000) AS x"})).await;
    let ran = db.run("wide").await;
    succeeded(&ran);
    assert!(detail(&ran, "answer")[0].as_str().unwrap().chars().count() <= 2001);
}

#[tokio::test]
async fn it_is_repeated_until_it_affects_nothing() {
    let db = application().await;
    let statement =
        "DELETE FROM item WHERE id IN (SELECT id FROM item WHERE tenant = 1 ORDER BY id LIMIT 10)";
    db.statement("batches", json!({"statement": statement, "repeat": true, "pacing": "full"})).await;
    let lost = db.occurrence("batches").kill_after_batches(2).run().await.unwrap();
    assert_eq!((lost.state.as_str(), db.items().await), ("running", 80));
    let ran = db.run("batches").await;
    succeeded(&ran);
    assert_eq!(
        (ran.attempt, detail(&ran, "rows"), detail(&ran, "times"), db.items().await),
        (2, &json!(25), &json!(4), 75)
    );

    db.statement(
        "limited",
        json!({"statement": statement.replace('1', "2"), "repeat": true, "limit_rows": 15}),
    )
    .await;
    let ran = db.run("limited").await;
    assert_eq!(detail(&ran, "stopped"), &json!("limit_rows"), "{ran:?}");
    let options = Options { time_limit: Some("1ms".into()), ..Default::default() };
    let ran = db.occurrence("limited").options(options).run().await.unwrap();
    assert!(
        ["time_limit", "limit_rows", "drained"].contains(&detail(&ran, "stopped").as_str().unwrap()),
        "{ran:?}"
    );

    let endless = "WITH d AS (DELETE FROM item RETURNING 1) SELECT count(*) FROM d";
    db.statement("endless", json!({"statement": endless, "repeat": true})).await;
    let ran = db.run("endless").await;
    assert_eq!(ran.state, "refused");
    assert!(error(&ran).contains("without RETURNING"), "{ran:?}");
}

#[tokio::test]
async fn inputs_are_bound() {
    let db = application().await;
    let statement = "DELETE FROM item WHERE tenant = :tenant AND note <> :word AND note <> ':tenant'";
    db.statement("theirs", json!({"statement": statement})).await;
    db.execute(
        r#"UPDATE sexton.job SET inputs = '{"tenant": "bigint", "word": "text"}' WHERE name = 'theirs'"#,
    )
    .await;
    db.arm("theirs").await;
    let inputs = json!({"tenant": 3, "word": "'; DROP TABLE item; --"});
    let ran = db.occurrence("theirs").inputs(inputs).run().await.unwrap();
    succeeded(&ran);
    assert_eq!((ran.rows, db.items().await), (25, 75));
}

#[tokio::test]
async fn one_statement_and_no_more() {
    let db = application().await;
    for (name, statement, part) in [
        ("two", "DELETE FROM item; COMMIT", "multiple commands"),
        ("typo", "DELETE FROM itm", "itm"),
        ("concurrently", "CREATE INDEX CONCURRENTLY i ON item (note)", "upkeep"),
        ("commits", "DO $$ BEGIN DELETE FROM item; COMMIT; END $$", "invalid transaction termination"),
        ("fails", "SELECT 1 / (id - 5) FROM item", "division by zero"),
    ] {
        db.statement(name, json!({"statement": statement})).await;
        let ran = db.run(name).await;
        assert!(["failed", "refused"].contains(&ran.state.as_str()), "{name}: {ran:?}");
        assert!(error(&ran).contains("params.statement") && error(&ran).contains(part), "{name}: {ran:?}");
    }
    assert_eq!(db.items().await, 100);
}

#[tokio::test]
async fn timeouts_are_its_own_and_end_with_it() {
    let db = application().await;
    db.statement("slow", json!({"statement": "SELECT pg_sleep(60)", "statement_timeout": "20ms"})).await;
    let ran = db.run("slow").await;
    assert!(error(&ran).contains("params.statement_timeout"), "{ran:?}");
    let settings =
        "SELECT set_config('idle_session_timeout', '0', false), set_config('search_path', 'nowhere', false)";
    db.statement("settings", json!({"statement": settings})).await;
    succeeded(&db.run("settings").await);

    db.statement("waits", json!({"statement": "DELETE FROM item", "lock_timeout": "10ms"})).await;
    let mut other = db.session().await;
    for lock in ["SELECT FROM item WHERE id = 50 FOR UPDATE", "LOCK TABLE item"] {
        let transaction = other.transaction().await.unwrap();
        transaction.execute(lock, &[]).await.unwrap();
        let ran = db.run("waits").await;
        assert!(ran.state == "failed" && error(&ran).contains("params.lock_timeout"), "{lock}: {ran:?}");
    }
}

#[tokio::test]
async fn a_long_statement_ends_when_the_run_is_cancelled() {
    let db = application().await;
    db.statement("long", json!({"statement": "SELECT pg_sleep(600)"})).await;
    let run = tokio::spawn(db.occurrence("long").run());
    db.until("it sleeps", "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database())", &[]).await;
    db.execute("SELECT sexton.cancel('long')").await;
    let ran = run.await.unwrap().unwrap();
    assert_eq!(ran.state, "cancelled", "{ran:?}");
}

/// Who did what only `box_low` should have done.
const ESCAPED: &str =
    "SELECT coalesce(string_agg(DISTINCT who, ' '), '') FROM low.seen WHERE who <> 'box_low'";

/// A role without rights but on its own schema, and statements by which it would get at more.
#[tokio::test]
async fn the_role_is_a_sandbox() {
    let db = application().await;
    db.execute(
        "CREATE ROLE box_low; CREATE SCHEMA low AUTHORIZATION box_low; CREATE TABLE low.seen (who text); CREATE TABLE low.t (x int);
         ALTER TABLE low.seen OWNER TO box_low; ALTER TABLE low.t OWNER TO box_low; GRANT INSERT ON low.seen TO PUBLIC;
         CREATE FUNCTION low.note() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO low.seen VALUES (current_user); RETURN 1; END $$;
         CREATE FUNCTION low.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM low.note(); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON low.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION low.noted()",
    )
    .await;
    for (name, statement, refusal) in [
        ("reads", "SELECT * FROM secret", Some("permission denied")),
        ("resets", "DO $$ BEGIN RESET ROLE; PERFORM * FROM secret; END $$", Some("security-definer")),
        ("sets", "SELECT set_config('role', 'postgres', false)", Some("security-definer")),
        ("becomes", "DO $$ BEGIN SET SESSION AUTHORIZATION postgres; END $$", Some("security-definer")),
        ("copies", "DO $$ BEGIN COPY low.t FROM PROGRAM 'true'; END $$", Some("external program")),
        (
            "prepares",
            "DO $$ BEGIN EXECUTE 'PREPARE s1 AS SELECT low.note()'; END $$",
            Some("must not PREPARE"),
        ),
        ("defers", "INSERT INTO low.t VALUES (1)", None),
        ("holds", "DO $$ BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT low.note()'; END $$", None),
        (
            "shadows",
            "DO $$ BEGIN EXECUTE 'CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (low.note() = 1)'; END $$",
            None,
        ),
    ] {
        db.statement_as(name, "box_low", statement).await;
        let ran = db.run(name).await;
        match refusal {
            Some(part) => assert!(ran.state == "failed" && error(&ran).contains(part), "{name}: {ran:?}"),
            None => assert_eq!(ran.state, "succeeded", "{name}: {ran:?}"),
        }
        assert_eq!(db.get::<String>(ESCAPED, &[]).await, "", "{name} acted as somebody else");
    }
    // It puts its own function in place of ours, for the next repetition.
    db.execute(
        r#"CREATE FUNCTION low.swap() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM low.t WHERE x = 2) THEN RETURN; END IF;
             INSERT INTO low.t VALUES (2);
             CREATE OR REPLACE FUNCTION pg_temp.sexton_statement(p_text text, p_inputs text[], p_keep int, p_width int,
               OUT counted bigint, OUT kept jsonb) LANGUAGE sql AS 'SELECT low.note()::bigint - 1, NULL::jsonb';
             RETURN NEXT 1; END $$"#,
    )
    .await;
    db.statement_as("swaps", "box_low", "INSERT INTO low.t SELECT low.swap()").await;
    db.execute("UPDATE sexton.job SET params = params || '{\"repeat\": true}' WHERE name = 'swaps'").await;
    db.arm("swaps").await;
    let ran = db.run("swaps").await;
    succeeded(&ran);
    assert_eq!(
        (detail(&ran, "times"), db.get::<String>(ESCAPED, &[]).await.as_str()),
        (&json!(2), ""),
        "{ran:?}"
    );
    assert!(
        db.get::<bool>("SELECT count(*) > 0 FROM low.seen", &[]).await,
        "the deferred trigger ran, as its own role"
    );
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_statement_that_grants_it() {
    let db = application().await;
    db.execute("CREATE ROLE sql_replica LOGIN IN ROLE sexton_runner; CREATE ROLE sql_low; GRANT DELETE, SELECT ON item TO sql_low;
                GRANT EXECUTE ON FUNCTION sexton.run_now(text, jsonb, jsonb) TO sql_replica").await;
    db.statement_as("job", "sql_low", "DELETE FROM item WHERE id < 5").await;
    let ran = db.occurrence_as("job", "sql_replica").run().await.unwrap();
    assert!(ran.state == "refused" && error(&ran).contains("GRANT sql_low TO sql_replica;"), "{ran:?}");
    let database = db.config.get_dbname().unwrap();
    db.execute(&format!("GRANT sql_low TO sql_replica; REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"))
        .await;
    let ran = db.occurrence_as("job", "sql_replica").run().await.unwrap();
    assert!(error(&ran).contains(&format!("GRANT TEMPORARY ON DATABASE {database} TO sql_low;")), "{ran:?}");
    db.execute(&format!("GRANT TEMPORARY ON DATABASE {database} TO sql_low")).await;
    let ran = db.occurrence_as("job", "sql_replica").run().await.unwrap();
    succeeded(&ran);
    assert_eq!((ran.rows, detail(&ran, "role")), (4, &json!("sql_low")));

    // Without run_as it would have the replica's rights, which its editor lacks.
    db.execute("CREATE ROLE sql_author LOGIN; GRANT USAGE ON SCHEMA sexton TO sql_author; GRANT SELECT, INSERT ON sexton.job TO sql_author;
                GRANT USAGE ON SEQUENCE sexton.lock_id TO sql_author").await;
    let author = sexton::protocol::connect::Connector::from(db.config_of("sql_author"))
        .open("author", &[])
        .await
        .unwrap()
        .client;
    author.batch_execute(r#"INSERT INTO sexton.job (name, kind, schedule, params) VALUES ('lent', 'sql', 'manual', '{"statement": "DELETE FROM item"}')"#)
        .await.unwrap();
    let ran = db.run("lent").await;
    assert!(ran.state == "refused" && error(&ran).contains("sql_author"), "{ran:?}");
}
