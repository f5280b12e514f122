//! Changes of references in the application's own audit.

use serde_json::{Value, json};

use super::{
    references::{armed, teams, with},
    support::{detail, error},
};
use crate::support::Db;

/// A table as applications have them, with a trigger of its own.
async fn changes(db: &Db) {
    db.execute(
        r#"CREATE TABLE "Chang es" (id serial PRIMARY KEY, made_at timestamptz NOT NULL, team bigint NOT NULL, "Key" jsonb,
             what jsonb, who varchar(20) NOT NULL, run uuid, job text, tab text, own int, gone boolean, seen text DEFAULT 'no');
           CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := 'yes'; RETURN NEW; END $$;
           CREATE TRIGGER see BEFORE INSERT ON "Chang es" FOR EACH ROW EXECUTE FUNCTION see()"#,
    )
    .await;
}

fn audit() -> Value {
    json!({"table": "\"Chang es\"", "columns": {"made_at": "at", "team": "key", "Key": "key", "what": "removed",
           "who": "'maintenance'", "run": "run", "job": "job", "tab": "table", "own": "owner", "gone": "deleted"}})
}

#[tokio::test]
async fn each_change_is_written_to_the_applications_table_with_it() {
    let db = teams().await;
    changes(&db).await;
    let mut params = with("audit", audit());
    params["owner"] = json!("id");
    params["columns"] = json!(["the members", {"name": "lead", "on_dangling": "delete"}]);
    armed(&db, "mend", params).await;
    let ran = db.run("mend").await;
    assert_eq!((ran.state.as_str(), ran.rows), ("succeeded", 2), "{ran:?}");
    assert_eq!(detail(&ran, "deleted"), &json!(1));
    let written =
        r#"SELECT jsonb_agg(to_jsonb(c) - '{id,made_at,run}'::text[] ORDER BY id) FROM "Chang es" c"#;
    let row = |team: i32, removed: Value, gone: bool| {
        json!({"team": team, "Key": {"id": team}, "what": removed, "who": "maintenance", "job": "mend",
               "tab": "public.\"Te ams\"", "own": team, "gone": gone, "seen": "yes"})
    };
    let expected = json!([
        row(1, json!({"the members": [99, 99]}), false),
        row(5, json!({"the members": [99, 98], "lead": [96]}), true),
    ]);
    assert_eq!(db.get::<Value>(written, &[]).await, expected);
    let of_this_run = r#"SELECT bool_and(run = $1 AND made_at > now() - interval '1 hour') FROM "Chang es""#;
    assert!(db.get::<bool>(of_this_run, &[&ran.run_id]).await);
    db.run("mend").await;
    assert_eq!(db.get::<Value>(written, &[]).await, expected, "a second run changes and writes nothing");
}

#[tokio::test]
async fn what_cannot_be_written_changes_nothing() {
    let db = teams().await;
    changes(&db).await;
    db.execute(r#"ALTER TABLE "Chang es" ADD CHECK (team <> 5)"#).await;
    let before: String = db.get(r#"SELECT string_agg(t::text, ' ' ORDER BY id) FROM "Te ams" t"#, &[]).await;
    let mut params = with("audit", audit());
    params["owner"] = json!("id");
    armed(&db, "mend", params).await;
    let ran = db.run("mend").await;
    assert_eq!(ran.state, "failed");
    assert!(error(&ran).contains("check constraint"), "{ran:?}");
    assert_eq!(
        db.get::<String>(r#"SELECT string_agg(t::text, ' ' ORDER BY id) FROM "Te ams" t"#, &[]).await,
        before
    );
    let noted = "SELECT count(*) FROM sexton.audit WHERE verb = 'change'";
    assert_eq!(db.get::<i64>(noted, &[]).await, 0, "all of it is one transaction");
}

#[tokio::test]
async fn a_table_that_may_not_be_written_refuses_the_run() {
    let db = teams().await;
    changes(&db).await;
    let of =
        |table: &str, column: &str| with("audit", json!({"table": table, "columns": {column: "removed"}}));
    for (name, params, part) in [
        ("missing", of("nope", "what"), "params.audit.table: there is no table nope"),
        ("ours", of("sexton.audit", "detail"), "sexton.audit is no table of the application's"),
        ("column", of("\"Chang es\"", "whatever"), "params.audit.columns.whatever"),
    ] {
        db.insert_manual(name, "references", params).await;
        let ran = db.run(name).await;
        assert_eq!(ran.state, "refused", "{name}: {ran:?}");
        assert!(error(&ran).contains(part), "{name}: {ran:?}");
    }
    let role: String = db.get("SELECT 'audit_author_' || current_database()", &[]).await;
    db.execute(&format!(
        r#"CREATE ROLE {role} LOGIN IN ROLE sexton_author; GRANT SELECT, UPDATE ON "Te ams" TO {role};
           GRANT INSERT (what) ON "Chang es" TO {role}"#
    ))
    .await;
    let author = sexton::protocol::connect::Connector::from(db.config_of(&role));
    let author = author.open("author", &[]).await.unwrap().client;
    let sql = "INSERT INTO sexton.job (name, kind, schedule, params) VALUES ($1, 'references', 'manual', $2)";
    for (name, column, state) in [("may", "what", "succeeded"), ("may-not", "Key", "refused")] {
        author.execute(sql, &[&name, &of("\"Chang es\"", column)]).await.unwrap();
        let ran = db.run(name).await;
        assert_eq!(ran.state, state, "{ran:?}");
        assert!(
            state == "succeeded" || error(&ran).contains("who edited the job last, may not write"),
            "{ran:?}"
        );
    }
}
