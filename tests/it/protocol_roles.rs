//! Who may do what: for each group role a login that is a member of it and of nothing else.

use serde_json::json;
use tokio_postgres::{Client, Error};

use crate::support::{Db, Hand, Replica, code};

const DENIED: &str = "42501";

/// A login with the rights of this group role alone, and its session.
async fn member_of(db: &Db, group: &str) -> Client {
    // Roles belong to the server, which other tests share.
    let login = format!("{group}_in_{}", db.get::<String>("SELECT current_database()::text", &[]).await);
    db.execute(&format!("CREATE ROLE {login} LOGIN IN ROLE {group}")).await;
    db.session_as(&login).await
}

async fn says(client: &Client, sql: &str) -> Result<String, Error> {
    Ok(client.query_one(sql, &[]).await?.get(0))
}

const CLAIM: &str =
    "SELECT sexton.claim(1, 0, 1, gen_random_uuid(), gen_random_uuid(), '', '', false, false)::text";

#[tokio::test]
async fn a_runner_moves_jobs_by_the_functions_alone() {
    let db = Db::new().await;
    db.due("mine").await;
    let runner = member_of(&db, "sexton_runner").await;
    assert_eq!(says(&runner, "SELECT name FROM sexton.jobs").await.unwrap(), "mine");
    // It may claim, and is asked for the lock.
    assert_eq!(code(says(&runner, CLAIM).await), "SX003");
    for refused in [
        "UPDATE sexton.job SET version = version + 1 RETURNING name",
        "UPDATE sexton.job SET paused_at = NULL RETURNING name",
        "DELETE FROM sexton.job RETURNING name",
        "DELETE FROM sexton.run RETURNING job_name",
        "INSERT INTO sexton.run_part (run_id, part) VALUES (gen_random_uuid(), 0) RETURNING ''",
        "UPDATE sexton.meta SET halted_at = NULL RETURNING ''",
        "SELECT sexton.kill('mine')::text",
        "SELECT sexton.pause('mine')",
        "SELECT sexton.arm('mine')",
        "SELECT sexton.adopt()",
        "SELECT sexton.advance(1, false, NULL, NULL, NULL)::text",
        "SELECT sexton.settle_run(gen_random_uuid(), 'succeeded', NULL)::text",
        "SELECT sexton.give_back(1, now(), 0)::text",
        "INSERT INTO sexton.notice (event) VALUES ('failed') RETURNING event",
        "UPDATE sexton.delivery SET state = 'sent' RETURNING state",
        "SELECT sexton.subscribe('mail:ops@example.org')",
        "SELECT sexton.channel_on('mail:ops@example.org')",
    ] {
        assert_eq!(code(says(&runner, refused).await), DENIED, "{refused}");
    }
}

#[tokio::test]
async fn a_replica_needs_no_more_than_the_runners_rights() {
    let db = Db::new().await;
    member_of(&db, "sexton_runner").await;
    let login: String = db.get("SELECT 'sexton_runner_in_' || current_database()", &[]).await;
    db.execute(&format!(
        "GRANT SELECT, INSERT ON public.ledger TO {login}; GRANT SELECT ON public.gate TO {login}"
    ))
    .await;
    db.steps_job("plain", json!({})).await;
    db.insert("wrong", "steps", "no schedule", json!({})).await;
    let mut config = db.config.clone();
    config.user(&login);
    let runner = sexton::runner::Runner::builder(config).registry(crate::support::Steps::registry()).build();
    let shutdown = runner.shutdown();
    let task = tokio::spawn(runner.run());
    db.until_job("plain", "planned").await;
    db.verb("run_now", "plain").await;
    db.until_outcomes("plain", "succeeded").await;
    db.until_job("wrong", "invalid_reason IS NOT NULL").await;
    shutdown.drain();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_operator_steers_and_does_not_write_definitions() {
    let db = Db::new().await;
    db.due("job").await;
    let operator = member_of(&db, "sexton_operator").await;
    for allowed in [
        "SELECT sexton.pause('job')",
        "SELECT sexton.resume('job')",
        "SELECT sexton.arm('job')",
        "SELECT sexton.disarm('job')",
        "SELECT sexton.pause_all()",
        "SELECT sexton.resume_all()",
        "SELECT sexton.run_now('job')",
        "SELECT sexton.cancel('job')",
        "SELECT sexton.adopt()",
        "SELECT sexton.terminate_holder('job')::text",
        "SELECT sexton.why('job')",
        "SELECT sexton.subscribe('mail:ops@example.org')",
        "SELECT sexton.unsubscribe('mail:ops@example.org')",
        "SELECT sexton.channel_on('mail:ops@example.org')",
    ] {
        says(&operator, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error:?}"));
    }
    for refused in [
        "UPDATE sexton.job SET params = '{}' RETURNING name",
        "UPDATE sexton.job SET armed_revision = revision RETURNING name",
        "INSERT INTO sexton.job (name, kind) VALUES ('x', 'steps') RETURNING name",
        CLAIM,
        r#"SELECT sexton.run_now('job', '{"force": true}')"#,
    ] {
        assert_eq!(code(says(&operator, refused).await), DENIED, "{refused}");
    }
    let actor: String = db.get("SELECT DISTINCT actor FROM sexton.audit WHERE verb = 'pause'", &[]).await;
    assert!(actor.starts_with("sexton_operator_in_"), "the audit names the login: {actor}");
}

#[tokio::test]
async fn an_author_writes_definitions_and_not_the_protocols_columns() {
    let db = Db::new().await;
    let author = member_of(&db, "sexton_author").await;
    for allowed in [
        "INSERT INTO sexton.job (name, kind) VALUES ('job', 'steps') RETURNING name",
        r#"UPDATE sexton.job SET params = '{"steps": 2}' RETURNING name"#,
        "SELECT sexton.schedule('job', 'daily 03:00', 'steps')",
        "SELECT sexton.rename('job', 'task')::text",
        "SELECT sexton.unschedule('task')::text",
    ] {
        says(&author, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error:?}"));
    }
    db.due("other").await;
    for column in [
        "version = version + 1",
        "revision = 9",
        "state = 'idle'",
        "armed_revision = revision, armed_at = now()",
        "approved_rows = 9",
        "due_at = now()",
        "occurrence = now()",
        "attempt = 0",
        "validated_revision = revision",
        "target_oid = 1",
        "targets = '[]'",
        "run_id = NULL",
        "lock_id = 1",
        "edited_by = 'somebody'",
    ] {
        let sql = format!("UPDATE sexton.job SET {column} RETURNING name");
        assert_eq!(code(says(&author, &sql).await), DENIED, "{column}");
    }
    for refused in [
        "INSERT INTO sexton.job (name, kind, armed_revision, armed_at) VALUES ('x', 'steps', 1, now()) RETURNING name",
        "SELECT sexton.arm('other')",
        "SELECT sexton.kill('other')::text",
        CLAIM,
    ] {
        assert_eq!(code(says(&author, refused).await), DENIED, "{refused}");
    }
}

#[tokio::test]
async fn an_author_lends_a_job_no_right_that_he_has_not() {
    let db = Db::new().await;
    db.execute("CREATE TABLE public.secret (at timestamptz)").await;
    let author = member_of(&db, "sexton_author").await;
    let purge = "INSERT INTO sexton.job (name, kind, params) VALUES ('p', 'purge', '{\"table\": \"secret\"}') RETURNING name";
    assert_eq!(code(says(&author, purge).await), DENIED);
    let foreign =
        "INSERT INTO sexton.job (name, kind, run_as) VALUES ('p', 'steps', 'postgres') RETURNING name";
    assert_eq!(code(says(&author, foreign).await), DENIED);

    db.execute("GRANT DELETE ON public.secret TO sexton_author").await;
    says(&author, purge).await.unwrap();
    let target: String = db.job("p", "target_name").await;
    assert_eq!(target, "public.secret");
    db.execute("REVOKE DELETE ON public.secret FROM sexton_author").await;
}

#[tokio::test]
async fn a_viewer_looks_and_no_more() {
    let db = Db::new().await;
    db.due("job").await;
    let holder = Hand::claim(&db, "job").await;
    let viewer = member_of(&db, "sexton_viewer").await;
    for allowed in [
        "SELECT job FROM sexton.running",
        "SELECT state FROM sexton.jobs",
        "SELECT job FROM sexton.runs",
        "SELECT sexton.why('job')",
        "SELECT count(*)::text FROM sexton.replicas",
        "SELECT count(*)::text FROM sexton.overdue",
        "SELECT count(*)::text FROM sexton.resources",
    ] {
        says(&viewer, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error:?}"));
    }
    for refused in [
        "SELECT sexton.pause('job')",
        "SELECT sexton.run_now('job')",
        "SELECT sexton.kill('job')::text",
        CLAIM,
        "UPDATE sexton.job SET priority = 1 RETURNING name",
        "DELETE FROM sexton.audit RETURNING verb",
        "SELECT nextval('sexton.lock_id')::text",
    ] {
        assert_eq!(code(says(&viewer, refused).await), DENIED, "{refused}");
    }
    drop(holder);
}

#[tokio::test]
async fn a_login_without_a_group_sees_nothing() {
    let db = Db::new().await;
    let name: String = db.get("SELECT 'nobody_in_' || current_database()", &[]).await;
    db.execute(&format!("CREATE ROLE {name} LOGIN")).await;
    let nobody = db.session_as(&name).await;
    assert_eq!(code(says(&nobody, "SELECT name FROM sexton.job").await), DENIED);
    // It can hint, though: a hint carries nothing that is trusted.
    db.steps_job("job", json!({})).await;
    let replica = Replica::start(&db).await_started(&db).await;
    nobody.batch_execute("NOTIFY sexton, '{\"job\": 1, \"run\": \"rm -rf /\"}'").await.unwrap();
    db.until_job("job", "planned").await;
    replica.drain().await;
}
