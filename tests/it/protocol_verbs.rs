//! Verbs are barriers: when one returns, nothing of what it stopped commits any more.

use serde_json::json;
use sexton::kind::Nature;

use crate::support::{Db, Hand, code, detail};

/// A destructive job that is armed and due, and its holder, one batch on.
async fn holder_of_armed(db: &Db) -> Hand {
    db.insert("job", "steps_destructive", "manual", json!({})).await;
    db.planned("job").await;
    db.verb("arm", "job").await;
    db.verb("run_now", "job").await;
    let hand = Hand::claim_as(db, "job", Nature::Destructive).await;
    assert_eq!(hand.mode, "real");
    hand.batch(0).await.unwrap();
    hand
}

#[tokio::test]
async fn each_verb_stops_the_next_batch_for_its_own_reason() {
    let edit = r#"UPDATE sexton.job SET params = '{"steps": 9}'"#;
    for (act, reason) in [
        ("SELECT sexton.pause('job')", "paused"),
        ("SELECT sexton.pause_all('stop')", "halted"),
        ("SELECT sexton.disarm('job')", "disarmed"),
        ("SELECT sexton.cancel('job')", "cancelled"),
        ("SELECT sexton.kill('job')", "superseded"),
        ("SELECT sexton.unschedule('job')", "gone"),
        (edit, "edited"),
    ] {
        let db = Db::new().await;
        let hand = holder_of_armed(&db).await;
        assert_eq!(hand.ping().await, None);
        db.execute(act).await;
        assert_eq!(detail(hand.batch(1).await), reason, "{act}");
        assert_eq!(hand.ping().await.as_deref(), Some(reason), "{act}");
        assert_eq!(db.steps("job").await, "1", "{act}");
    }
}

/// The verb waits for a batch that is between its fence and its COMMIT, and stops the next.
#[tokio::test]
async fn a_verb_waits_for_the_batch_that_is_committing() {
    for verb in ["pause('job')", "pause_all()", "disarm('job')", "cancel('job')", "kill('job')"] {
        let db = Db::new().await;
        let hand = holder_of_armed(&db).await;
        hand.client.batch_execute("BEGIN").await.unwrap();
        hand.fence(1).await.unwrap();
        let operator = db.session().await;
        let sql = format!("SELECT sexton.{verb}");
        let mut act = Box::pin(operator.batch_execute(&sql));
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND query = $1";
        let sent: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&sql];
        tokio::select! {
            _ = &mut act => panic!("{verb} returned while a batch was committing"),
            () = db.until("the verb waits", waits, &sent) => {}
        }
        hand.client.batch_execute("COMMIT").await.unwrap();
        act.await.unwrap();
        assert_eq!(hand.batch(2).await.unwrap_err().code().unwrap().code(), "SX001", "{verb}");
    }
}

/// `meta` is not what fences lock. So `pause_all` must touch the rows, or a fence that waits for one of them would judge
/// by the snapshot from before.
#[tokio::test]
async fn a_fence_that_waited_sees_the_halt() {
    let db = Db::new().await;
    let hand = holder_of_armed(&db).await;
    let operator = db.session().await;
    operator.batch_execute("BEGIN; SELECT sexton.pause_all('stop')").await.unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton.fence%'";
    let halt = async {
        db.until("the fence waits", waits, &[]).await;
        operator.batch_execute("COMMIT").await.unwrap();
    };
    let (batch, ()) = tokio::join!(hand.batch(1), halt);
    assert_eq!(detail(batch), "halted");
}

#[tokio::test]
async fn with_a_halt_that_touches_no_row_a_batch_slips_through() {
    let db = Db::new().await;
    let hand = holder_of_armed(&db).await;
    let operator = db.session().await;
    operator
        .batch_execute("BEGIN; UPDATE sexton.meta SET halted_at = now(), halted_by = 'me'")
        .await
        .unwrap();
    hand.batch(1).await.expect("the control: nothing holds the batch back");
    operator.batch_execute("COMMIT").await.unwrap();
    assert_eq!(db.steps("job").await, "1 2");
}

#[tokio::test]
async fn pause_all_stops_what_deletes_and_nothing_else() {
    let db = Db::new().await;
    let hand = holder_of_armed(&db).await;
    db.due("harmless").await;
    let other = Hand::claim(&db, "harmless").await;
    db.insert("dry", "steps_destructive", "manual", json!({})).await;
    db.planned("dry").await;
    db.verb("run_now", "dry").await;
    let dry = Hand::claim_as(&db, "dry", Nature::Destructive).await;
    assert_eq!(dry.mode, "dry");
    let answer: String = db.get("SELECT sexton.pause_all('night')", &[]).await;
    assert!(answer.contains("1 running"), "{answer}");
    assert_eq!(detail(hand.batch(1).await), "halted");
    other.batch(0).await.unwrap();
    dry.batch(0).await.unwrap();

    hand.finish("released", 1).await.unwrap();
    hand.die(&db).await;
    let answer = Hand::try_claim(&db, "job", Nature::Destructive).await;
    assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("lost", "halted"));
    db.get::<String>("SELECT sexton.resume_all()", &[]).await;
    assert_eq!(Hand::claim_as(&db, "job", Nature::Destructive).await.attempt, 1, "no attempt was used up");
}

#[tokio::test]
async fn pauses_of_single_jobs_outlive_pause_all_and_resume_all() {
    let db = Db::new().await;
    db.due("one").await;
    db.due("two").await;
    db.client.execute("SELECT sexton.pause('one', 'mine')", &[]).await.unwrap();
    for all in ["pause_all('all')", "resume_all()"] {
        db.execute(&format!("SELECT sexton.{all}")).await;
        assert_eq!(db.job::<String>("one", "pause_reason").await, "mine", "{all}");
        assert!(db.job::<bool>("two", "paused_at IS NULL").await, "{all}");
    }
    let answer: String = db.get("SELECT sexton.resume_all()", &[]).await;
    assert_eq!(answer, "pause_all() was not in force.");
}

/// A claim reads `meta` under a lock: one that began before the halt is seen by it, one that began after sees it.
#[tokio::test]
async fn a_claim_waits_for_a_halt_that_is_committing() {
    let db = Db::new().await;
    db.insert("job", "steps_destructive", "manual", json!({})).await;
    db.planned("job").await;
    db.verb("arm", "job").await;
    db.verb("run_now", "job").await;
    let operator = db.session().await;
    operator.batch_execute("BEGIN; SELECT sexton.pause_all()").await.unwrap();
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton.claim%'";
    let halt = async {
        db.until("the claim waits", waits, &[]).await;
        operator.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(Hand::try_claim(&db, "job", Nature::Destructive), halt);
    assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("lost", "halted"));
}

#[tokio::test]
async fn a_cancel_wins_over_whatever_would_bring_the_occurrence_back() {
    for outcome in ["failed", "timed_out", "superseded", "released"] {
        let db = Db::new().await;
        db.due("job").await;
        let hand = Hand::claim(&db, "job").await;
        db.verb("cancel", "job").await;
        hand.finish(outcome, 0).await.unwrap();
        assert_eq!(db.outcomes("job").await, "cancelled", "{outcome}");
        assert!(db.job::<bool>("job", "due_at IS NULL AND attempt = 0").await, "{outcome}: it is over");
    }
}

#[tokio::test]
async fn a_success_that_was_there_before_the_cancel_stands() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    db.verb("cancel", "job").await;
    hand.finish("succeeded", 0).await.unwrap();
    assert_eq!(db.outcomes("job").await, "succeeded");
}

#[tokio::test]
async fn a_rerun_asked_for_during_a_run_survives_its_release_and_its_kill() {
    let db = Db::new().await;
    let sql =
        "INSERT INTO sexton.job (name, kind, inputs) VALUES ('job', 'steps', '{\"tenant\": \"bigint\"}')";
    db.execute(sql).await;
    db.planned("job").await;
    db.execute(r#"SELECT sexton.run_now('job', '{}', '{"tenant": 1}')"#).await;
    let first = Hand::claim(&db, "job").await;
    let answer: String = db.get(r#"SELECT sexton.run_now('job', '{}', '{"tenant": 2}')"#, &[]).await;
    assert_eq!(answer, "job is running; it runs once more afterwards.");
    let other = db.client.query_one(r#"SELECT sexton.run_now('job', '{}', '{"tenant": 3}')"#, &[]).await;
    assert_eq!(code(other), "SX005", "what was answered is not replaced by another wish");

    first.finish("released", 0).await.unwrap();
    first.die(&db).await;
    let second = Hand::claim(&db, "job").await;
    db.verb("kill", "job").await;
    second.die(&db).await;
    let third = Hand::claim(&db, "job").await;
    assert_eq!(
        db.last_run::<i32>("job", "(inputs ->> 'tenant')::int").await,
        1,
        "the first occurrence, still"
    );
    third.finish("succeeded", 0).await.unwrap();
    third.die(&db).await;
    let rerun = Hand::claim(&db, "job").await;
    assert_eq!(db.last_run::<i32>("job", "(inputs ->> 'tenant')::int").await, 2);
    assert!(rerun.occurrence > third_occurrence(&db).await);
    rerun.finish("succeeded", 0).await.unwrap();
    assert!(db.job::<bool>("job", "due_at IS NULL AND rerun IS NULL").await, "once more means once");
}

async fn third_occurrence(db: &Db) -> jiff::Timestamp {
    db.get("SELECT min(occurrence) FROM sexton.run", &[]).await
}

#[tokio::test]
async fn a_success_with_another_number_of_batches_is_refused() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.batch(0).await.unwrap();
    for wrong in [0, 2] {
        assert_eq!(code(hand.finish("succeeded", wrong).await), "SX004");
    }
    assert_eq!(db.outcomes("job").await, "running", "nothing was settled");
    hand.finish("succeeded", 1).await.unwrap();
    assert_eq!(db.last_run::<i64>("job", "batches").await, 1);
}

#[tokio::test]
async fn only_a_holders_outcomes_are_taken_from_a_holder() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    for no_outcome in ["lost", "running", "done"] {
        assert_eq!(code(hand.finish(no_outcome, 0).await), "SX002", "{no_outcome}");
    }
    let mut backwards =
        db.client.query_one("UPDATE sexton.job SET version = version - 1 RETURNING id", &[]).await;
    assert_eq!(code(backwards), "SX002");
    backwards = db.client.query_one("UPDATE sexton.job SET run_id = NULL RETURNING id", &[]).await;
    assert_eq!(code(backwards), "23514", "a CHECK holds state and run_id together");
}

#[tokio::test]
async fn cancel_drops_a_pending_retry_and_has_nothing_to_do_else() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.finish("failed", 0).await.unwrap();
    hand.die(&db).await;
    assert!(db.job::<bool>("job", "attempt = 1 AND due_at IS NOT NULL").await);
    let answer = db.verb("cancel", "job").await;
    assert!(answer.contains("will not be tried again"), "{answer}");
    assert!(db.job::<bool>("job", "attempt = 0 AND due_at IS NULL").await);
    assert_eq!(code(db.client.query_one("SELECT sexton.cancel('job')", &[]).await), "SX005");
    assert_eq!(code(db.client.query_one("SELECT sexton.kill('job')", &[]).await), "SX005");
    assert_eq!(code(db.client.query_one("SELECT sexton.cancel('jobb')", &[]).await), "SX006");
}
