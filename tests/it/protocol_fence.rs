//! The fence: a batch commits only while its run holds its job.
//!
//! Each claim of safety has its negative control: the same history in a database whose fence is patched, where the
//! forbidden effect does commit. A control that finds nothing would mean that the test is blind.

use serde_json::json;
use sexton::kind::IN_BATCH;
use tokio_postgres::Error;

use crate::support::{Db, Hand, Replica, code, detail};

/// How a batch is sent.
#[derive(Clone, Copy, Debug)]
enum Batch {
    /// One autocommit statement.
    Statement,
    /// A transaction, with the COMMIT in one flight with the fence.
    Transaction,
}

const BATCHES: [Batch; 2] = [Batch::Statement, Batch::Transaction];

async fn send(hand: &Hand, batch: Batch, seq: i64) -> Result<(), Error> {
    match batch {
        Batch::Statement => hand.batch(seq).await,
        Batch::Transaction => {
            hand.client.batch_execute("BEGIN").await?;
            effect(hand, seq).await?;
            let (fenced, committed) =
                futures_util::join!(hand.fence(seq), hand.client.batch_execute("COMMIT"));
            fenced.and(committed)
        }
    }
}

async fn effect(hand: &Hand, seq: i64) -> Result<(), Error> {
    let sql = "INSERT INTO public.ledger (job, occurrence, step, version, run_id) VALUES ('job', $1, $2::bigint, $3, $4)";
    let step = seq + 1;
    hand.client.execute(sql, &[&hand.occurrence, &step, &hand.version, &hand.run]).await.map(drop)
}

/// A holder that lost its lock without noticing, and the one that took over.
async fn superseded(db: &Db) -> (Hand, Hand) {
    db.due("job").await;
    let zombie = Hand::claim(db, "job").await;
    zombie.batch(0).await.unwrap();
    zombie.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let holder = Hand::claim(db, "job").await;
    (zombie, holder)
}

#[tokio::test]
async fn a_superseded_holders_batch_never_commits() {
    for batch in BATCHES {
        let db = Db::new().await;
        let (zombie, holder) = superseded(&db).await;
        assert_eq!(detail(send(&zombie, batch, 1).await), "superseded", "{batch:?}");
        assert_eq!(zombie.ping().await.as_deref(), Some("superseded"));
        assert_eq!(code(zombie.finish("succeeded", 1).await), "SX001");
        assert_eq!(holder.cursor, Some(json!({"done": 1})));
        send(&holder, batch, 0).await.unwrap();
        assert_eq!(db.steps("job").await, "1 1", "the zombie's first, the holder's first, nothing else");
        holder.finish("succeeded", 1).await.unwrap();
        assert_eq!(db.outcomes("job").await, "lost succeeded");
    }
}

#[tokio::test]
async fn with_the_fence_off_a_superseded_holders_batch_commits() {
    for batch in BATCHES {
        let db = Db::new().await;
        db.patch("sexton.fence", "stop IS NOT NULL", "false").await;
        let (zombie, _holder) = superseded(&db).await;
        send(&zombie, batch, 1).await.unwrap();
        assert_eq!(db.steps("job").await, "1 2", "the control sees the violation");
    }
}

/// What cancels the BEGIN of a batch alone leaves its effect, sent in the same flight, outside of any transaction.
#[tokio::test]
async fn an_effect_without_its_batch_is_an_error() {
    let db = Db::new().await;
    db.execute("CREATE TABLE public.things (id int); INSERT INTO public.things VALUES (1), (2), (3)").await;
    let effect = format!("DELETE FROM public.things WHERE id < CASE WHEN {IN_BATCH} THEN 3 END");
    let session = db.session().await;
    let left = "SELECT count(*) FROM public.things";
    assert_eq!(code(session.batch_execute(&effect).await), "42704", "the session had no batch yet");
    session
        .batch_execute(&format!("BEGIN; SET LOCAL sexton.in_batch TO on; {effect}; ROLLBACK"))
        .await
        .unwrap();
    assert_eq!(code(session.batch_execute(&effect).await), "22P02", "the session's last batch is over");
    assert_eq!(db.get::<i64>(left, &[]).await, 3);
    session
        .batch_execute(&format!("BEGIN; SET LOCAL sexton.in_batch TO on; {effect}; COMMIT"))
        .await
        .unwrap();
    assert_eq!(db.get::<i64>(left, &[]).await, 1, "the control: within a batch it works");
}

/// A takeover between the fence and the COMMIT of the old holder. Returns what the old holder's COMMIT did, and
/// whether the takeover was there before it.
async fn takeover_between_fence_and_commit(db: &Db) -> (Result<(), Error>, bool) {
    db.due("job").await;
    let zombie = Hand::claim(db, "job").await;
    zombie.client.batch_execute("SELECT pg_advisory_unlock_all(); BEGIN").await.unwrap();
    effect(&zombie, 0).await.unwrap();
    zombie.fence(0).await.unwrap();
    let mut takeover = Box::pin(Hand::claim(db, "job"));
    // Not just any lock: whoever notifies waits for the notices of other databases too.
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event IN ('transactionid', 'tuple') AND query LIKE '%sexton.claim%'";
    let first = tokio::select! {
        holder = &mut takeover => Some(holder),
        () = db.until("the takeover waits for the row", waits, &[]) => None,
    };
    let before = first.is_some();
    let committed = zombie.client.batch_execute("COMMIT").await;
    let holder = match first {
        Some(holder) => holder,
        None => takeover.await,
    };
    // Whether it goes on behind the zombie's batch, or before it.
    holder.batch(0).await.unwrap();
    (committed, before)
}

#[tokio::test]
async fn a_takeover_waits_for_a_batch_that_is_committing_and_goes_on_behind_it() {
    let db = Db::new().await;
    let (committed, before) = takeover_between_fence_and_commit(&db).await;
    committed.unwrap();
    assert!(!before, "the claim waited");
    let cursors = "SELECT string_agg(p.cursor ->> 'done', ' ' ORDER BY r.version) FROM sexton.run_part p JOIN sexton.run r ON r.id = p.run_id";
    assert_eq!(db.get::<String>(cursors, &[]).await, "1 1");
    assert_eq!(
        db.last_run::<Option<String>>(
            "job",
            "(SELECT cursor ->> 'done' FROM sexton.run_part WHERE run_id = id)"
        )
        .await
        .as_deref(),
        Some("1")
    );
}

#[tokio::test]
async fn with_a_weaker_lock_in_the_fence_a_takeover_slips_in_between() {
    for (lock, name) in [("", "no lock"), ("FOR KEY SHARE", "FOR KEY SHARE")] {
        let db = Db::new().await;
        db.patch("sexton.fence", "p_job FOR SHARE", &format!("p_job {lock}")).await;
        let (committed, before) = takeover_between_fence_and_commit(&db).await;
        assert!(before && committed.is_ok(), "{name}: the zombie commits behind its successor's claim");
        let versions = "SELECT string_agg(version::text, ' ' ORDER BY id) FROM public.ledger";
        assert_eq!(db.get::<String>(versions, &[]).await, "1 2", "{name}");
        // The harm: the successor began where the zombie's batch was not yet, and the step is done twice.
        assert_eq!(db.steps("job").await, "1 1", "{name}");
    }
}

#[tokio::test]
async fn in_stricter_isolation_a_fence_that_waited_ends_in_a_conflict() {
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let db = Db::new().await;
        db.due("job").await;
        let hand = Hand::claim(&db, "job").await;
        hand.client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.unwrap();
        effect(&hand, 0).await.unwrap();
        // The row changes behind the snapshot of the transaction.
        db.verb("cancel", "job").await;
        assert_eq!(code(hand.fence(0).await), "40001", "{level}");
        hand.client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(db.steps("job").await, "", "{level}");
        assert_eq!(detail(hand.batch(0).await), "cancelled");
    }
}

#[tokio::test]
async fn a_batch_that_does_not_follow_the_last_one_is_refused() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    for batch in BATCHES {
        assert_eq!(code(send(&hand, batch, 1).await), "SX004", "{batch:?}: one was stepped over");
    }
    hand.batch(0).await.unwrap();
    for batch in BATCHES {
        assert_eq!(code(send(&hand, batch, 0).await), "SX004", "{batch:?}: the same once more");
    }
    hand.batch(1).await.unwrap();
    assert_eq!(db.steps("job").await, "1 2");
}

#[tokio::test]
async fn a_version_alone_is_no_token() {
    let db = Db::new().await;
    let (zombie, holder) = superseded(&db).await;
    // As after a failover that lost the second claim, and then a third: the same number, another run.
    let imposter = Hand { version: holder.version, ..zombie };
    assert_eq!(detail(imposter.batch(1).await), "superseded");
    holder.batch(0).await.unwrap();
}

#[tokio::test]
async fn kill_does_not_wait_for_a_batch_and_that_batch_does_not_commit() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    let backend = hand.backend;
    let busy = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%public.pass%')";
    let kill = async {
        db.until("the batch is on its way", busy, &[&backend]).await;
        let killed: i32 = db.get("SELECT sexton.kill('job')", &[]).await;
        assert!(db.get::<bool>(busy, &[&backend]).await, "kill returned while the batch was at work");
        db.open_gate("gate").await;
        killed
    };
    let (batch, killed) = tokio::join!(hand.batch_through(0, Some("gate")), kill);
    assert_eq!(killed, backend);
    assert_eq!(detail(batch), "superseded");
    assert_eq!(db.steps("job").await, "");
}

/// With the fence first, an operator waits for the batch: why it comes last.
#[tokio::test]
async fn with_the_fence_first_kill_waits_for_the_batch() {
    let db = Db::new().await;
    db.due("job").await;
    let hand = Hand::claim(&db, "job").await;
    hand.client.batch_execute("BEGIN").await.unwrap();
    hand.fence(0).await.unwrap();
    let killer = db.session().await;
    let mut kill = Box::pin(killer.query_one("SELECT sexton.kill('job')", &[]));
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton.kill%'";
    tokio::select! {
        _ = &mut kill => panic!("kill did not wait"),
        () = db.until("kill waits", waits, &[]) => {}
    }
    effect(&hand, 0).await.unwrap();
    hand.client.batch_execute("COMMIT").await.unwrap();
    kill.await.unwrap();
    assert_eq!(db.steps("job").await, "1");
}

/// The client library says Ok to a COMMIT that the server answered with ROLLBACK; `commit` of a kind must not.
#[tokio::test]
async fn a_transaction_whose_fence_fails_reports_it() {
    let db = Db::new().await;
    db.due_job("job", "steps", json!({"transaction": true, "hold_within": 2})).await;
    let replica = Replica::start(&db);
    db.until_steps("job", 1).await;
    let at_gate = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%public.pass%' AND pid <> pg_backend_pid()";
    db.until("the second batch is on its way", at_gate, &[]).await;
    db.verb("cancel", "job").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "cancelled").await;
    assert_eq!(db.steps("job").await, "1");
    assert_eq!(db.last_run::<i64>("job", "batches").await, 1, "recorded progress is the effect");
    replica.drain().await;
}

#[tokio::test]
async fn the_librarys_commit_alone_would_have_said_ok() {
    let db = Db::new().await;
    let (zombie, _holder) = superseded(&db).await;
    zombie.client.batch_execute("BEGIN").await.unwrap();
    effect(&zombie, 1).await.unwrap();
    assert_eq!(detail(zombie.fence(1).await), "superseded");
    zombie.client.batch_execute("COMMIT").await.expect("the control: an Ok that means ROLLBACK");
    assert_eq!(db.steps("job").await, "1");
}
