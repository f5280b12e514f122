//! Races for jobs: whoever tries, however many, one wins.

use futures_util::future::join_all;
use serde_json::json;
use sexton::kind::Nature;

use crate::support::{Db, Hand, Replica, code};

#[tokio::test]
async fn of_twenty_claimers_one_wins() {
    let db = Db::new().await;
    db.due("job").await;
    for round in 0..5_i64 {
        let tries = join_all((0..20).map(|_| Hand::try_claim(&db, "job", Nature::Database))).await;
        let mut winners: Vec<Hand> = tries.into_iter().filter_map(|answer| answer.hand).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let winner = winners.remove(0);
        winner.batch(0).await.unwrap();
        winner.finish("succeeded", 1).await.unwrap();
        winner.die(&db).await;
        db.verb("run_now", "job").await;
    }
    assert_eq!(db.get::<i64>("SELECT count(DISTINCT version) FROM public.ledger", &[]).await, 5);
}

/// The lock is for detecting death; the row alone decides. So twenty who all have the lock are no danger either.
#[tokio::test]
async fn of_twenty_that_need_no_lock_one_wins() {
    let db = Db::new().await;
    db.due("job").await;
    // As behind a transaction pooler: whoever asks is told that the lock is his.
    db.execute("CREATE OR REPLACE FUNCTION sexton.lock_holder(p_lock_id int) RETURNS int LANGUAGE sql STABLE AS 'SELECT pg_backend_pid()'")
        .await;
    let id: i64 = db.job("job", "id").await;
    let version: i64 = db.job("job", "version").await;
    let tries =
        join_all((0..20).map(|_| async {
            Hand::claim_at(db.session().await, id, version, Nature::Database).await.unwrap()
        }))
        .await;
    assert_eq!(tries.iter().filter(|answer| answer.result == "won").count(), 1);
    let lost = tries.iter().filter(|answer| answer.result == "lost");
    assert!(lost.clone().all(|answer| answer.reason == "another was first"));
    assert_eq!(lost.count(), 19);
}

#[tokio::test]
async fn a_claim_without_the_lock_is_refused() {
    let db = Db::new().await;
    db.due("job").await;
    let (id, version) = (db.job("job", "id").await, db.job("job", "version").await);
    let answer = Hand::claim_at(db.session().await, id, version, Nature::Database).await;
    assert_eq!(code(answer.map(|answer| answer.result)), "SX003");
    assert_eq!(db.job::<String>("job", "state").await, "idle");
}

/// An edit bumps no version. The replica read the params before it, and would record the revision after it.
#[tokio::test]
async fn a_job_that_was_edited_after_the_scan_is_not_won_by_its_old_params() {
    let db = Db::new().await;
    db.due("job").await;
    let (id, version): (i64, i64) = (db.job("job", "id").await, db.job("job", "version").await);
    let scanned: i64 = db.job("job", "revision").await;
    db.execute("UPDATE sexton.job SET params = params || '{\"steps\": 7}' WHERE name = 'job'").await;
    db.execute("UPDATE sexton.job SET validated_revision = revision WHERE name = 'job'").await;
    assert_eq!(db.job::<i64>("job", "version").await, version, "so the version alone tells nothing");
    let claim = |revision| Hand::claim_read(&db, id, version, revision);
    let stale = claim(scanned).await;
    assert_eq!((stale.result.as_str(), stale.reason.as_str()), ("lost", "it was edited meanwhile"));
    assert_eq!(claim(scanned + 1).await.result, "won");
}

#[tokio::test]
async fn a_stranger_with_the_key_blocks_and_is_named() {
    let db = Db::new().await;
    db.due("job").await;
    let stranger = db.session().await;
    let take = "SELECT pg_try_advisory_lock(m.lock_class, j.lock_id) FROM sexton.job j, sexton.meta m";
    assert!(stranger.query_one(take, &[]).await.unwrap().get::<_, bool>(0));
    let answer = Hand::try_claim(&db, "job", Nature::Database).await;
    assert_eq!((answer.result.as_str(), answer.reason.as_str()), ("lost", "its lock is held"));
    let replica = Replica::start(&db).await_started(&db).await;
    let pid: i32 = stranger.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let why = db.verb("why", "job").await;
    assert!(why.contains(&format!("held by backend {pid}")), "{why}");
    drop(stranger);
    db.until_outcomes("job", "succeeded").await;
    replica.drain().await;
}

#[tokio::test]
async fn twenty_replicas_run_each_of_fifty_due_jobs_once() {
    let db = Db::new().await;
    let insert = "INSERT INTO sexton.job (name, kind, schedule, params)
                  SELECT 'job-' || n, 'steps', 'manual', $1 FROM generate_series(1, 50) n";
    db.client.execute(insert, &[&json!({"steps": 3})]).await.unwrap();
    let replicas: Vec<Replica> = (0..20).map(|_| Replica::start(&db)).collect();
    db.until("all are planned", "SELECT bool_and(planned) FROM sexton.job", &[]).await;
    for round in 1..=2_i64 {
        db.execute("SELECT sexton.run_now(name) FROM sexton.job").await;
        let done = "SELECT count(*) = 50 * $1::bigint FROM sexton.run WHERE state = 'succeeded'";
        db.until("all ran", done, &[&round]).await;
    }
    assert_eq!(db.get::<i64>("SELECT count(*) FROM sexton.run", &[]).await, 100, "no run failed or was lost");
    let exact = "SELECT count(*) = 300 AND count(DISTINCT (job, occurrence, step)) = 300 FROM public.ledger";
    assert!(db.get::<bool>(exact, &[]).await, "each step of each occurrence once");
    let recorded = "SELECT bool_and(r.batches = 3 AND r.rows_done = 3 AND
                      (SELECT count(*) FROM public.ledger l WHERE l.run_id = r.id AND l.version = r.version) = 3)
                    FROM sexton.run r";
    assert!(db.get::<bool>(recorded, &[]).await, "the ledger is what the runs say");
    for replica in replicas {
        replica.drain().await;
    }
}

#[tokio::test]
async fn an_occurrence_cannot_succeed_twice() {
    let db = Db::new().await;
    db.due("job").await;
    let first = Hand::claim(&db, "job").await;
    first.finish("succeeded", 0).await.unwrap();
    // Rows moved by hand, as no function would.
    db.client
        .execute(
            "UPDATE sexton.job SET occurrence = $1, due_at = now(), origin = 'run_now'",
            &[&first.occurrence],
        )
        .await
        .unwrap();
    first.die(&db).await;
    let second = Hand::claim(&db, "job").await;
    assert_eq!(code(second.finish("succeeded", 0).await), "23505");
}
