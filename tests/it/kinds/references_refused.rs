//! Removals of references that must not be: what is wrong with the job, and who lacks which right.

use serde_json::json;
use sexton::kind::Options;

use super::{
    references::{armed, params, teams, with},
    support::{detail, error},
};

#[tokio::test]
async fn what_is_wrong_is_named_with_its_remedy() {
    let db = teams().await;
    db.execute(r#"CREATE TABLE bare (ids int[]); ALTER TABLE "Te ams" ADD must bigint NOT NULL DEFAULT 1"#)
        .await;
    let bare = json!({"table": "bare", "columns": "ids", "valid": "SELECT id FROM users"});
    for (name, params, parts) in [
        ("column", with("columns", json!("membrs")), ["params.columns[0]", "no column \"membrs\""]),
        ("path", with("columns", json!("settings")), ["params.columns[0].path", "$[*]"]),
        ("required", with("columns", json!("must")), ["on_dangling", "cannot be NULL"]),
        ("valid", with("valid", json!("SELECT id FROM usrs")), ["params.valid", "usrs"]),
        ("two", with("valid", json!("SELECT id, id FROM users")), ["params.valid", "gives 2 columns"]),
        ("inner", with("valid", json!("SELECT n FROM users")), ["params.valid", "\"n\" does not exist"]),
        ("injected", with("valid", json!("SELECT 1) AS x, (SELECT 2")), ["params.valid", "syntax error"]),
        ("type", with("valid", json!("SELECT 'a'::text")), ["params.columns", "operator does not exist"]),
        ("owner", with("owner", json!("nobody")), ["params.owner", "nobody"]),
        ("edited", with("edited_at", json!("editor")), ["params.edited_at", "of type text"]),
        ("input", with("where", json!("id = :team")), [":team", "declare it"]),
        ("keyless", bare, ["primary key", "ALTER TABLE"]),
    ] {
        db.insert_manual(name, "references", params).await;
        let ran = db.run(name).await;
        assert_eq!(ran.state, "refused", "{name}: {ran:?}");
        for part in parts {
            assert!(error(&ran).contains(part), "{name}: {ran:?} does not say {part}");
        }
    }
    let options = Options { range: Some("1".to_owned()), ..Default::default() };
    db.insert_manual("range", "references", params()).await;
    let ran = db.occurrence("range").options(options).run().await.unwrap();
    assert_eq!(ran.state, "refused");
}

#[tokio::test]
async fn a_job_has_no_more_rights_than_its_editor_and_a_replica_only_its_own() {
    let db = teams().await;
    db.execute(
        r#"CREATE ROLE references_author LOGIN; GRANT USAGE ON SCHEMA sexton TO references_author;
           GRANT SELECT, INSERT ON sexton.job TO references_author; GRANT SELECT ON "Te ams" TO references_author;
           GRANT USAGE ON SEQUENCE sexton.lock_id TO references_author;
           CREATE ROLE references_replica LOGIN IN ROLE sexton_runner;
           GRANT EXECUTE ON FUNCTION sexton.run_now(text, jsonb, jsonb) TO references_replica"#,
    )
    .await;
    let author = sexton::protocol::connect::Connector::from(db.config_of("references_author"));
    let author = author.open("author", &[]).await.unwrap().client;
    let sql =
        "INSERT INTO sexton.job (name, kind, schedule, params) VALUES ('theirs', 'references', 'manual', $1)";
    author.execute(sql, &[&params()]).await.unwrap();
    let ran = db.run("theirs").await;
    assert!(ran.state == "refused" && error(&ran).contains("references_author"), "{ran:?}");

    armed(&db, "ours", with("owner", json!("id"))).await;
    let ran = db.occurrence_as("ours", "references_replica").run().await.unwrap();
    assert!(
        error(&ran).contains(r#"GRANT SELECT, UPDATE ON public."Te ams" TO references_replica"#),
        "{ran:?}"
    );
    db.execute(r#"GRANT SELECT, UPDATE ON "Te ams" TO references_replica; GRANT SELECT ON users TO references_replica"#)
        .await;
    let ran = db.occurrence_as("ours", "references_replica").run().await.unwrap();
    assert_eq!(
        (ran.state.as_str(), ran.rows, detail(&ran, "owners")),
        ("succeeded", 2, &json!(2)),
        "{ran:?}"
    );
}
