//! Eight points in which the prototype was wrong, as it was seen to be when it ran. Each has its test here.

use serde_json::json;
use sexton::kind::Nature;

use crate::support::{Db, Hand, Replica, code};

// 1. Attempts are counted on the crash path too.

#[tokio::test]
async fn a_run_that_kills_its_holder_each_time_is_given_up_after_max_attempts() {
    let db = Db::new().await;
    db.due("job").await;
    db.execute("UPDATE sexton.job SET max_attempts = 3").await;
    for attempt in 1..=3 {
        let hand = Hand::claim(&db, "job").await;
        assert_eq!(hand.attempt, attempt);
        hand.die(&db).await;
    }
    let answer = Hand::try_claim(&db, "job", Nature::Database).await;
    assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("settled", "attempts used up"));
    assert_eq!(db.outcomes("job").await, "lost lost lost");
    assert_eq!(db.notices("job").await, "failed");
    assert!(
        db.job::<bool>("job", "state = 'idle' AND due_at IS NULL AND attempt = 0 AND failure_count = 1")
            .await
    );
}

#[tokio::test]
async fn a_job_that_was_given_up_goes_on_with_its_next_occurrence() {
    let db = Db::new().await;
    db.insert("job", "steps", "every 1h", json!({})).await;
    db.execute("UPDATE sexton.job SET max_attempts = 1").await;
    let planner = Replica::with(&db, |builder| builder.slots(0));
    db.until_job("job", "planned").await;
    db.set_back("job", "61 minutes").await;
    let hand = Hand::claim(&db, "job").await;
    let lost = hand.occurrence;
    hand.die(&db).await;
    let answer = Hand::try_claim(&db, "job", Nature::Database).await;
    assert_eq!(answer.result, "settled");
    db.until_job("job", "planned AND origin = 'schedule'").await;
    let next: jiff::Timestamp = db.job("job", "occurrence").await;
    assert_eq!(next.duration_since(lost).as_mins() % 60, 0, "on the same grid");
    assert!(next > lost);
    planner.drain().await;
}

// 2. A cancel outlives the holder.

#[tokio::test]
async fn an_orphan_with_a_cancel_pending_is_cancelled_and_starts_nothing() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    db.verb("cancel", "job").await;
    hand.die(&db).await;
    let answer = Hand::try_claim(&db, "job", Nature::Database).await;
    assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("settled", "cancelled"));
    assert_eq!(db.outcomes("job").await, "cancelled");
    assert!(db.job::<bool>("job", "state = 'idle' AND due_at IS NULL").await);
}

// 3. A cursor is inherited by a run that does the very same thing, and by no other.

#[tokio::test]
async fn the_next_attempt_inherits_the_cursor() {
    let db = Db::new().await;
    db.due("job").await;
    let first = Hand::claim(&db, "job").await;
    assert_eq!(first.cursor, None);
    first.batch(0).await.unwrap();
    first.batch(1).await.unwrap();
    first.die(&db).await;
    let second = Hand::claim(&db, "job").await;
    assert_eq!(second.cursor, Some(json!({"done": 2})));
    // Lost before its first batch: what it inherited is not lost with it.
    second.die(&db).await;
    assert_eq!(Hand::claim(&db, "job").await.cursor, Some(json!({"done": 2})));
}

#[tokio::test]
async fn an_edit_between_two_attempts_lets_the_next_begin_anew() {
    let db = Db::new().await;
    db.due("job").await;
    let first = Hand::claim(&db, "job").await;
    first.batch(0).await.unwrap();
    db.execute(r#"UPDATE sexton.job SET params = '{"steps": 9}'"#).await;
    first.finish("superseded", 1).await.unwrap();
    first.die(&db).await;
    db.execute("SELECT sexton.accept(id, revision) FROM sexton.job").await;
    let second = Hand::claim(&db, "job").await;
    assert_eq!((second.cursor, second.attempt), (None, 1));
    assert_eq!(second.occurrence, first_occurrence(&db).await, "the same occurrence");
}

async fn first_occurrence(db: &Db) -> jiff::Timestamp {
    db.get("SELECT occurrence FROM sexton.run ORDER BY version LIMIT 1", &[]).await
}

#[tokio::test]
async fn a_real_run_does_not_begin_where_a_dry_one_left_off() {
    let db = Db::new().await;
    db.insert("job", "steps_destructive", "manual", json!({})).await;
    db.planned("job").await;
    db.verb("run_now", "job").await;
    let dry = Hand::claim_as(&db, "job", Nature::Destructive).await;
    assert_eq!(dry.mode, "dry");
    dry.fence(0).await.unwrap();
    dry.die(&db).await;
    db.verb("arm", "job").await;
    let real = Hand::claim_as(&db, "job", Nature::Destructive).await;
    assert_eq!((real.mode.as_str(), real.cursor, real.attempt), ("real", None, 2));
}

// 4. Pause is a barrier: see also protocol_verbs.

#[tokio::test]
async fn a_paused_run_is_released_and_goes_on_at_its_cursor_after_resume() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"steps": 4, "hold_before": 3})).await;
    let replica = Replica::start(&db);
    db.until_steps("job", 2).await;
    db.verb("pause", "job").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "released").await;
    assert_eq!(db.steps("job").await, "1 2");
    db.verb("resume", "job").await;
    db.until_outcomes("job", "released succeeded").await;
    assert_eq!(db.steps("job").await, "1 2 3 4");
    assert_eq!(db.last_run::<i32>("job", "attempt").await, 1);
    replica.drain().await;
}

// 5. Run now, in each state.

#[tokio::test]
async fn run_now_makes_a_manual_job_due() {
    let db = Db::new().await;
    db.steps_job("job", json!({})).await;
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    assert!(db.job::<bool>("job", "due_at IS NULL").await, "manual never comes by itself");
    assert_eq!(db.verb("run_now", "job").await, "job is due now.");
    db.until_outcomes("job", "succeeded").await;
    assert_eq!(db.last_run::<String>("job", "origin").await, "run_now");
    assert!(db.job::<bool>("job", "due_at IS NULL AND state = 'idle'").await);
    replica.drain().await;
}

#[tokio::test]
async fn run_now_does_not_shift_the_phase() {
    let db = Db::new().await;
    db.insert("job", "steps", "every 1h", json!({})).await;
    let replica = Replica::start(&db);
    db.until_job("job", "planned").await;
    let regular: jiff::Timestamp = db.job("job", "scheduled_at").await;
    db.verb("run_now", "job").await;
    db.until_outcomes("job", "succeeded").await;
    db.until_job("job", "state = 'idle'").await;
    let after: (jiff::Timestamp, jiff::Timestamp) =
        (db.job("job", "scheduled_at").await, db.job("job", "occurrence").await);
    assert_eq!(after, (regular, regular));
    assert_eq!(db.job::<String>("job", "origin").await, "schedule");
    replica.drain().await;
}

#[tokio::test]
async fn run_now_tries_a_pending_retry_at_once_and_keeps_its_occurrence() {
    let db = Db::new().await;
    db.due("job").await;
    db.execute("UPDATE sexton.job SET backoff = '1 hour'").await;
    let hand = Hand::claim(&db, "job").await;
    let params = "SELECT sexton.finish($1, $2, $3, 'failed', 'x', NULL, 0, '1 hour', 'manual', 'UTC', NULL, NULL, 0, NULL)";
    db.client.execute(params, &[&hand.job, &hand.version, &hand.run]).await.unwrap();
    let occurrence = hand.occurrence;
    hand.die(&db).await;
    assert!(db.job::<bool>("job", "due_at > now() + interval '50 minutes'").await);
    assert_eq!(db.verb("run_now", "job").await, "job is tried again now.");
    let again = Hand::claim(&db, "job").await;
    assert_eq!((again.occurrence, again.attempt), (occurrence, 2));
}

#[tokio::test]
async fn run_now_of_a_paused_or_invalid_job_is_an_error_that_says_so() {
    let db = Db::new().await;
    db.due("job").await;
    db.execute("SELECT sexton.pause('job', 'holidays')").await;
    let error = db.client.query_one("SELECT sexton.run_now('job')", &[]).await.unwrap_err();
    let refusal = error.as_db_error().unwrap();
    assert_eq!(refusal.code().code(), "SX005");
    assert!(refusal.message().contains("paused") && refusal.message().contains("holidays"), "{refusal}");
    assert_eq!(refusal.hint(), Some("SELECT sexton.resume('job');"));

    db.execute("SELECT sexton.reject(id, revision, schedule, time_zone, 'params: odd') FROM sexton.job")
        .await;
    db.verb("resume", "job").await;
    assert_eq!(code(db.client.query_one("SELECT sexton.run_now('job')", &[]).await), "SX005");
}

// 6. Deleting.

#[tokio::test]
async fn a_job_with_history_is_deleted_and_its_history_stays() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.finish("succeeded", 0).await.unwrap();
    let id = hand.job;
    assert_eq!(db.verb("unschedule", "job").await, "true");
    assert_eq!(db.outcomes("job").await, "succeeded");
    db.steps_job("job", json!({})).await;
    assert!(db.job::<i64>("job", "id").await > id, "ids are not used again");
    assert_eq!(db.job::<i64>("job", "version").await, 0);
}

#[tokio::test]
async fn deleting_a_running_job_is_a_kill() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"hold_before": 2})).await;
    let replica = Replica::start(&db);
    db.until_steps("job", 1).await;
    assert_eq!(db.verb("unschedule", "job").await, "true");
    assert_eq!(db.outcomes("job").await, "lost");
    db.open_gate("gate").await;
    let gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sexton/%/job'";
    db.until("the run's session ends", gone, &[]).await;
    assert_eq!(db.steps("job").await, "1");
    let error: String = db.last_run("job", "error").await;
    assert!(error.starts_with("the job was deleted by "), "{error}");
    replica.until_events(&["started job 1", "lost job"]).await;
    replica.drain().await;
}

// 7. terminate_holder ends the recorded backend and no other; kill says which it is.

#[tokio::test]
async fn kill_returns_the_backend_and_terminate_holder_ends_it() {
    let db = Db::new().await;
    db.due("job").await;
    // A login of its own: the schema's owner may end sessions of roles that it is a member of, and no superuser's.
    let login: String = db.get("SELECT 'holder_in_' || current_database()", &[]).await;
    db.execute(&format!("CREATE ROLE {login} LOGIN IN ROLE sexton_runner; GRANT {login} TO sexton_owner"))
        .await;
    let answer = Hand::try_claim_on(db.session_as(&login).await, "job", Nature::Database).await;
    let hand = answer.hand.expect("it is won");
    assert_eq!(db.get::<i32>("SELECT sexton.kill('job')", &[]).await, hand.backend);
    let answer = Hand::try_claim(&db, "job", Nature::Database).await;
    assert_eq!(answer.reason, "its lock is held", "not before the old session is gone");
    assert_eq!(db.verb("terminate_holder", "job").await, "true");
    let free = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = $1)";
    db.until("the backend ends", free, &[&hand.backend]).await;
    let next = Hand::claim(&db, "job").await;
    assert_eq!((next.occurrence, next.attempt), (hand.occurrence, 1), "killing uses up no attempt");
}

#[tokio::test]
async fn terminate_holder_leaves_a_stranger_alone() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.finish("succeeded", 0).await.unwrap();
    hand.die(&db).await;
    let stranger = db.session().await;
    let take = "SELECT pg_try_advisory_lock(m.lock_class, j.lock_id) FROM sexton.job j, sexton.meta m";
    assert!(stranger.query_one(take, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(db.verb("terminate_holder", "job").await, "false");
    stranger.query_one("SELECT 1", &[]).await.expect("the stranger is unharmed");
}

// 8. The name that a session shows is built so that what matters is not cut off.

#[tokio::test]
async fn a_run_session_is_named_after_replica_and_job() {
    let db = Db::new().await;
    let long = "a-job-whose-name-is-as-long-as-it-may-be-".repeat(3)[..100].to_owned();
    db.due_job(&long, "steps", json!({"hold_before": 1})).await;
    let replica = Replica::start(&db);
    db.until_job(&long, "state = 'running'").await;
    let (name, replica_id): (String, String) = (
        db.get(
            "SELECT application_name FROM pg_stat_activity WHERE pid = (SELECT holder_pid FROM sexton.job)",
            &[],
        )
        .await,
        db.job(&long, "replace(replica_id::text, '-', '')").await,
    );
    let prefix = format!("sexton/{}/a-job-whose-name", &replica_id[24..]);
    assert!(name.starts_with(&prefix) && name.len() == 63, "{name}");
    db.open_gate("gate").await;
    db.until_outcomes(&long, "succeeded").await;
    replica.drain().await;
}
