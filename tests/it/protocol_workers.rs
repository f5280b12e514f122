//! Workers: several sessions at work for one run, under its one claim and one fence.
//!
//! The second key is what a claim waits for: each claim about it has a control in which it is patched away. What is easy
//! to get wrong: a worker that commits before the takeover is in its right; only what comes after it must not commit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sexton::{
    Registry,
    kind::{Batch, Description, Kind, Nature, PartWork, Report, RunContext, Stop, Stopped},
    runner::RunnerBuilder,
    statements,
    testing::{Occurrence, Ran},
};
use tokio_postgres::{Client, Error};

use crate::support::{Db, Hand, Replica, code, detail};

/// A kind that splits its work into parts: each step of each is a batch that adds a row to the ledger, part 3's first as
/// step 301. How many workers there are is not the job's, but the replica's.
struct Parts {
    workers: u16,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Params {
    parts: i32,
    steps: i32,
    /// The step at which the gate is waited for, within the batch.
    hold_within: Option<i32>,
    transaction: bool,
    /// What a worker tries that only the run may do.
    oversteps: bool,
}

impl Default for Params {
    fn default() -> Self {
        Params { parts: 4, steps: 3, hold_within: None, transaction: false, oversteps: false }
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    part: i32,
    done: i32,
}

const EFFECT: &str = "INSERT INTO public.ledger (job, occurrence, step, version, run_id, label)
    SELECT $1, $2, $3, $4, $5, current_setting('idle_session_timeout') || ' ' || current_setting('lock_timeout')
      FROM public.pass($6)";

impl Kind for Parts {
    type Params = Params;

    fn name(&self) -> &'static str {
        "parts"
    }

    fn describe(&self) -> Description {
        Description { summary: "Works in parts.", nature: Nature::Database, params: &[], example: "" }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        if context.parts() == 0 {
            let cursors: Vec<Cursor> = (1..=params.parts).map(|part| Cursor { part, done: 0 }).collect();
            context.split(&cursors).await?;
        }
        let worked = context.in_parts(self.workers, &Work(&params)).await?;
        context.checkpoint(&json!({"all": "done"})).await?;
        Ok(Report::new(Stopped::Drained)
            .with("done", worked.parts)
            .with("workers", worked.workers)
            .with("parts", context.parts()))
    }
}

/// What is to be done for each part.
struct Work<'a>(&'a Params);

impl PartWork for Work<'_> {
    type Done = i32;

    async fn work(&self, context: &mut RunContext) -> Result<i32, Stop> {
        work(context, self.0).await
    }
}

/// What a worker cannot have done by others.
struct Nothing;

impl PartWork for Nothing {
    type Done = ();

    async fn work(&self, _: &mut RunContext) -> Result<(), Stop> {
        Ok(())
    }
}

async fn work(context: &mut RunContext, params: &Params) -> Result<i32, Stop> {
    let mut cursor: Cursor = context.cursor()?.expect("a part has a cursor");
    assert_eq!(context.part(), Some(cursor.part.unsigned_abs()));
    if params.oversteps {
        context.split(&[json!({})]).await.unwrap_err();
        context.in_parts(2, &Nothing).await.unwrap_err();
        context.with_resource("r", Duration::ZERO, async |_| Ok(())).await.unwrap_err();
    }
    while cursor.done < params.steps {
        cursor.done += 1;
        let step = cursor.part * 100 + cursor.done;
        let gate = (params.hold_within == Some(step)).then_some("gate");
        let (job, occurrence, run) = (context.job().to_owned(), context.occurrence(), context.run_id());
        let version: i64 = context.token().split_once('.').unwrap().1.parse().unwrap();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&job, &occurrence, &step, &version, &run, &gate];
        if params.transaction {
            let mut transaction = context.begin().await?;
            let rows = transaction.execute(EFFECT, &values).await?;
            transaction.commit(rows, &cursor).await?;
            continue;
        }
        let effect = format!("{EFFECT} RETURNING step");
        while !matches!(context.batch(&effect, &values, &cursor).await?, Batch::Committed { .. }) {}
    }
    Ok(cursor.part)
}

fn registry(workers: u16) -> Registry {
    let mut registry = Registry::new();
    registry.add(Parts { workers });
    registry
}

fn with_workers(workers: u16) -> impl FnOnce(RunnerBuilder) -> RunnerBuilder {
    move |builder| builder.registry(registry(workers))
}

fn occurrence(db: &Db, workers: u16) -> Occurrence {
    Occurrence::of("job", db.config.clone()).registry(registry(workers))
}

#[tokio::test]
async fn terminate_holder_ends_its_workers_too_and_no_stranger() {
    let db = Db::new().await;
    // The schema's owner may end sessions of roles that it is a member of, and no superuser's.
    let login: String = db.get("SELECT 'ended_in_' || current_database()", &[]).await;
    db.execute(&format!("CREATE ROLE {login} LOGIN IN ROLE sexton_runner; GRANT {login} TO sexton_owner"))
        .await;
    db.due("job").await;
    let answer = Hand::try_claim_on(db.session_as(&login).await, "job", Nature::Database).await;
    let hand = answer.hand.unwrap();
    split_again(&hand).await.unwrap();
    let worker = Worker::join_on(db.session_as(&login).await, &hand, 1).await.unwrap();
    let stranger = db.session().await;
    let key = "SELECT pg_try_advisory_lock_shared(lock_class, worker_lock_id) FROM sexton.meta, sexton.job";
    assert!(stranger.query_one(key, &[]).await.unwrap().get::<_, bool>(0));
    db.verb("kill", "job").await;
    assert_eq!(db.verb("terminate_holder", "job").await, "true");
    for client in [&worker.client, &hand.client] {
        client.query_one("SELECT 1", &[]).await.expect_err("its session was ended");
    }
    let left = "SELECT cardinality(sexton.worker_backends(worker_lock_id)) = 1 FROM sexton.job";
    db.until("the worker is gone", left, &[]).await;
    assert_eq!(db.verb("terminate_holder", "job").await, "false", "the stranger's is not ours to end");
    stranger.query_one("SELECT 1", &[]).await.unwrap();
}

/// Each step of each part took effect once, and the runs say just that.
async fn assert_exact(db: &Db, parts: i32, steps: i32) {
    let exact = "SELECT count(*) = $1::int * $2::int AND count(DISTINCT step) = count(*)
                   AND bool_and(step / 100 BETWEEN 1 AND $1 AND step % 100 BETWEEN 1 AND $2) FROM public.ledger";
    assert!(db.get::<bool>(exact, &[&parts, &steps]).await, "{}", db.steps("job").await);
    let recorded = "SELECT sum(rows_done)::bigint FROM sexton.run";
    assert_eq!(
        db.get::<i64>(recorded, &[]).await,
        i64::from(parts * steps),
        "recorded progress is the effect"
    );
}

#[tokio::test]
async fn any_number_of_workers_does_each_step_once() {
    for (workers, transaction) in [(1, false), (2, false), (4, true), (9, false)] {
        let db = Db::new().await;
        db.insert("job", "parts", "manual", json!({"transaction": transaction})).await;
        let ran: Ran = occurrence(&db, workers).run().await.unwrap();
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None));
        assert_eq!((ran.batches, ran.rows), (13, 12), "of all parts, and the run's own");
        let report = ran.report.unwrap();
        assert_eq!(report["done"], json!([1, 2, 3, 4]));
        assert_eq!(report["workers"], u16::min(workers, 4), "no more than there are parts");
        assert_exact(&db, 4, 3).await;
        let settings = "SELECT string_agg(DISTINCT label, ';') FROM public.ledger";
        assert_eq!(db.get::<String>(settings, &[]).await, "15s 200ms", "those of a run session");
        let keys = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(db.get::<i64>(keys, &[]).await, 0, "the key is given back before the run ends");
    }
}

#[tokio::test]
async fn what_only_the_run_may_do_a_worker_may_not() {
    let db = Db::new().await;
    db.insert("job", "parts", "manual", json!({"oversteps": true})).await;
    let ran = occurrence(&db, 2).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None));
    assert_exact(&db, 4, 3).await;
}

#[tokio::test]
async fn a_run_lost_after_any_batch_goes_on_with_another_number_of_workers() {
    for lost_after in [0, 1, 3, 6, 10, 12, 13] {
        let db = Db::new().await;
        db.insert("job", "parts", "manual", json!({})).await;
        let lost = occurrence(&db, 3).kill_after_batches(lost_after).run().await.unwrap();
        assert_eq!((lost.state.as_str(), lost.attempt), ("running", 1), "after {lost_after}");
        let done = occurrence(&db, 2).run().await.unwrap();
        assert_eq!((done.state.as_str(), done.attempt, done.error), ("succeeded", 2, None));
        assert_exact(&db, 4, 3).await;
    }
}

#[tokio::test]
async fn where_fewer_sessions_are_to_be_had_fewer_work_and_without_one_the_run_waits() {
    let db = Db::new().await;
    db.insert("job", "parts", "manual", json!({})).await;
    let login: String = db.get("SELECT 'few_in_' || current_database()", &[]).await;
    db.execute(&format!(
        "CREATE ROLE {login} LOGIN CONNECTION LIMIT 2 IN ROLE sexton_runner;
         GRANT SELECT, INSERT ON public.ledger TO {login}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {login}"
    ))
    .await;
    let mut config = db.config.clone();
    config.user(&login);
    db.planned("job").await;
    db.verb("run_now", "job").await;
    // The control session and the run's own are two.
    let limited = Occurrence::of("job", config).registry(registry(4));
    let waiting = limited.clone().run().await;
    assert_eq!(db.outcomes("job").await, "released", "{waiting:?}");
    assert_eq!(db.job::<i32>("job", "attempt").await, 0, "that used up no attempt");
    db.execute(&format!("ALTER ROLE {login} CONNECTION LIMIT 4")).await;
    db.execute("UPDATE sexton.job SET due_at = clock_timestamp()").await;
    let ran = limited.run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None));
    assert_eq!(ran.report.unwrap()["workers"], 2);
    assert_exact(&db, 4, 3).await;
}

const AT_GATE: &str = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()
    AND state = 'active' AND query LIKE '%public.pass%' AND pid <> pg_backend_pid()";

/// A replica with two workers whose first part waits in its second step while the others are done.
async fn held(db: &Db) -> Replica {
    db.due_job("job", "parts", json!({"hold_within": 102})).await;
    let replica = Replica::with(db, with_workers(2));
    db.until("a worker is at the gate", AT_GATE, &[]).await;
    db.until_steps("job", 1 + 3 * 3).await;
    replica
}

#[tokio::test]
async fn the_end_of_one_workers_session_is_the_end_of_the_run_which_goes_on_elsewhere() {
    let db = Db::new().await;
    let replica = held(&db).await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND query LIKE '%public.pass%' AND pid <> pg_backend_pid()";
    assert!(db.get::<bool>(terminate, &[]).await);
    let other = Replica::with(&db, with_workers(3));
    db.until_outcomes("job", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_exact(&db, 4, 3).await;
    assert_eq!(db.get::<i64>("SELECT rows_done FROM sexton.run WHERE state = 'lost'", &[]).await, 10);
    replica.drain().await;
    other.drain().await;
}

#[tokio::test]
async fn when_the_runs_own_session_ends_its_workers_stop_and_another_goes_on() {
    let db = Db::new().await;
    let replica = held(&db).await;
    db.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    db.until_outcomes("job", "lost running").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "lost succeeded").await;
    assert_exact(&db, 4, 3).await;
    replica.drain().await;
}

#[tokio::test]
async fn a_cancel_stops_all_workers() {
    let db = Db::new().await;
    let replica = held(&db).await;
    db.verb("cancel", "job").await;
    db.open_gate("gate").await;
    db.until_outcomes("job", "cancelled").await;
    assert_eq!(db.last_run::<i64>("job", "rows_done").await, 10, "what was on its way did not commit");
    replica.drain().await;
}

#[tokio::test]
async fn a_drain_brings_each_worker_to_a_batch_border_and_another_replica_goes_on_there() {
    let db = Db::new().await;
    let replica = held(&db).await;
    replica.shutdown().drain();
    db.open_gate("gate").await;
    replica.ended().await.unwrap();
    assert_eq!(db.outcomes("job").await, "released");
    assert_eq!(db.last_run::<i64>("job", "rows_done").await, 11, "the batch on its way was finished");
    let cursors =
        "SELECT string_agg(cursor ->> 'done', ' ' ORDER BY part) FROM sexton.run_part WHERE part > 0";
    assert_eq!(db.get::<String>(cursors, &[]).await, "2 3 3 3");
    let other = Replica::with(&db, with_workers(1));
    db.until_outcomes("job", "released succeeded").await;
    assert_eq!(db.last_run::<i32>("job", "attempt").await, 1);
    assert_exact(&db, 4, 3).await;
    other.drain().await;
}

/// A worker by hand, as `Hand` is a holder by hand.
struct Worker<'a> {
    client: Client,
    hand: &'a Hand,
    part: i32,
}

impl Worker<'_> {
    /// Joins, or says why not.
    async fn join<'a>(db: &Db, hand: &'a Hand, part: i32) -> Result<Worker<'a>, String> {
        Self::join_on(db.session().await, hand, part).await
    }

    /// The same on this session.
    async fn join_on(client: Client, hand: &Hand, part: i32) -> Result<Worker<'_>, String> {
        let row = client.query_one(text("join_run"), &[&hand.job, &hand.version, &hand.run]).await.unwrap();
        match row.get::<_, Option<String>>(0) {
            None => Ok(Worker { client, hand, part }),
            Some(reason) => Err(reason),
        }
    }

    /// Step `seq + 1` of its part, as one statement; on its way until the gate is open, if there is one.
    async fn batch(&self, seq: i64, gate: Option<&str>) -> Result<(), Error> {
        let sql = "WITH effect AS (INSERT INTO public.ledger (job, occurrence, step, version, run_id)
                     SELECT 'job', $6, $4 * 100 + $5::bigint + 1, $2, $3 FROM public.pass($8) RETURNING 1)
                   SELECT sexton.fence($1, $2, $3, $4, $5, (SELECT count(*) FROM effect), $7)";
        let cursor = json!({"done": seq + 1});
        let Hand { job, version, run, occurrence, .. } = self.hand;
        let statement = self.client.prepare(sql).await?;
        self.client
            .query_one(&statement, &[job, version, run, &self.part, &seq, occurrence, &cursor, &gate])
            .await
            .map(drop)
    }

    async fn die(self, db: &Db) {
        drop(self.client);
        let gone = "SELECT sexton.worker_backends(worker_lock_id) = '{}' FROM sexton.job WHERE name = 'job'";
        db.until("the worker's session ends", gone, &[]).await;
    }
}

fn text(name: &str) -> &'static str {
    statements::ALL.iter().find(|(file, _)| *file == name).unwrap().1
}

/// A holder with two parts.
async fn split(db: &Db) -> Hand {
    db.due("job").await;
    let hand = Hand::claim(db, "job").await;
    split_again(&hand).await.unwrap();
    hand
}

async fn split_again(hand: &Hand) -> Result<(), Error> {
    let cursors = json!([{"done": 0}, {"done": 0}]);
    hand.client.query_one(text("split"), &[&hand.job, &hand.version, &hand.run, &cursors]).await.map(drop)
}

async fn try_claim(db: &Db) -> (String, String, Option<Hand>) {
    let answer = Hand::try_claim(db, "job", Nature::Database).await;
    (answer.result, answer.reason, answer.hand)
}

#[tokio::test]
async fn a_batch_must_follow_the_last_one_of_its_own_part() {
    let db = Db::new().await;
    let hand = split(&db).await;
    let (one, two) = (Worker::join(&db, &hand, 1).await.unwrap(), Worker::join(&db, &hand, 2).await.unwrap());
    one.batch(0, None).await.unwrap();
    assert_eq!(code(one.batch(2, None).await), "SX004", "a gap");
    assert_eq!(code(one.batch(0, None).await), "SX004", "the same once more");
    assert_eq!(code(two.batch(1, None).await), "SX004", "the other part's");
    two.batch(0, None).await.unwrap();
    let nobody = Worker { part: 3, ..two };
    assert_eq!(code(nobody.batch(0, None).await), "SX004", "there is no such part");
    one.batch(1, None).await.unwrap();
    assert_eq!(db.steps("job").await, "101 201 102");
}

#[tokio::test]
async fn a_run_is_split_once_and_only_while_it_holds_its_job() {
    let db = Db::new().await;
    let hand = split(&db).await;
    assert_eq!(code(split_again(&hand).await), "SX002");
    db.verb("cancel", "job").await;
    assert_eq!(detail(split_again(&hand).await), "cancelled");
    assert_eq!(Worker::join(&db, &hand, 1).await.err().unwrap(), "cancelled");
}

#[tokio::test]
async fn a_success_must_know_the_batches_of_all_parts() {
    let db = Db::new().await;
    let hand = split(&db).await;
    let worker = Worker::join(&db, &hand, 2).await.unwrap();
    worker.batch(0, None).await.unwrap();
    hand.batch(0).await.unwrap();
    assert_eq!(code(hand.finish("succeeded", 1).await), "SX004", "its own alone");
    hand.finish("succeeded", 2).await.unwrap();
    assert_eq!(db.last_run::<i64>("job", "rows_done").await, 2);
}

/// The run's own session is gone, a worker's is in the middle of a batch.
#[tokio::test]
async fn no_claim_succeeds_before_the_last_worker_of_the_old_run_is_gone() {
    let db = Db::new().await;
    let hand = split(&db).await;
    let worker = Worker::join(&db, &hand, 1).await.unwrap();
    hand.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let claims = async {
        db.until("the worker is at work", AT_GATE, &[]).await;
        let (result, reason, _) = try_claim(&db).await;
        assert_eq!(
            (result.as_str(), reason.as_str()),
            ("lost", "a worker session of its last run is still there")
        );
        assert!(db.verb("why", "job").await.contains("worked for the same run"));
        db.open_gate("gate").await;
    };
    let (batch, ()) = tokio::join!(worker.batch(0, Some("gate")), claims);
    batch.expect("nobody has taken over");
    worker.die(&db).await;
    let (result, _, holder) = try_claim(&db).await;
    assert_eq!(result, "won");
    // The key was the claim's for as long as it took: workers of the new run share it at once.
    let holder = holder.unwrap();
    let worker = Worker::join(&db, &holder, 1).await.unwrap();
    worker.batch(0, None).await.unwrap();
    assert_eq!(db.steps("job").await, "101 101", "each its run's first of part 1, by hand");
    // A worker of the old run that comes only now, as one that was frozen before it could connect.
    assert_eq!(Worker::join(&db, &hand, 2).await.err().unwrap(), "superseded");
}

/// A takeover while a worker of the old run is in the middle of a batch; what became of that batch.
async fn takeover_beside_a_worker(db: &Db) -> Result<(), Error> {
    let hand = split(db).await;
    let worker = Worker::join(db, &hand, 1).await.unwrap();
    hand.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let takeover = async {
        db.until("the worker is at work", AT_GATE, &[]).await;
        let holder = try_claim(db).await.2.expect("the control: the claim does not wait for the worker");
        assert!(db.get::<bool>(AT_GATE, &[]).await, "both holders' SQL at once");
        db.open_gate("gate").await;
        holder
    };
    let (batch, holder) = tokio::join!(worker.batch(0, Some("gate")), takeover);
    // The successor does part 1 from where it inherited it.
    Worker::join(db, &holder, 1).await.unwrap().batch(0, None).await.unwrap();
    batch
}

#[tokio::test]
async fn without_the_second_key_two_holders_overlap_and_only_the_fence_keeps_the_zombie_out() {
    let no_key = ("sexton.claim", "NOT pg_try_advisory_xact_lock(m.lock_class, j.worker_lock_id)", "false");
    let db = Db::new().await;
    db.patch(no_key.0, no_key.1, no_key.2).await;
    assert_eq!(detail(takeover_beside_a_worker(&db).await), "superseded");
    assert_eq!(db.steps("job").await, "101");

    let db = Db::new().await;
    db.patch(no_key.0, no_key.1, no_key.2).await;
    db.patch("sexton.fence", "IF stop IS NOT NULL THEN", "IF false THEN").await;
    takeover_beside_a_worker(&db).await.expect("the control: the zombie's worker commits");
    assert_eq!(db.steps("job").await.len(), "101 101".len(), "the same step twice");
}

/// A worker that takes the key and asks nothing: why `join_run` asks after it has the key.
#[tokio::test]
async fn a_worker_that_joins_without_asking_overlaps_with_the_next_holder() {
    let db = Db::new().await;
    db.patch("sexton.join_run", "stop := sexton.ping(p_job, p_version, p_run);", "").await;
    let zombie = split(&db).await;
    zombie.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let _holder = try_claim(&db).await.2.unwrap();
    let worker = Worker::join(&db, &zombie, 1).await.expect("the control: it is let in");
    assert_eq!(detail(worker.batch(0, None).await), "superseded", "the fence still holds");
}

#[tokio::test]
async fn a_frozen_worker_never_commits_after_the_takeover() {
    let db = Db::new().await;
    let zombie = split(&db).await;
    let worker = Worker::join(&db, &zombie, 1).await.unwrap();
    worker.batch(0, None).await.unwrap();
    // What the server does when its timeouts are over: first the run's own session, then, later, the worker's.
    zombie.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    assert_eq!(try_claim(&db).await.0, "lost");
    worker.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let holder = try_claim(&db).await.2.unwrap();
    assert_eq!(detail(worker.batch(1, None).await), "superseded");
    let inherited: Value = db
        .last_run("job", "(SELECT jsonb_agg(cursor ORDER BY part) FROM sexton.run_part WHERE run_id = id)")
        .await;
    assert_eq!(inherited, json!([null, {"done": 1}, {"done": 0}]));
    Worker::join(&db, &holder, 1).await.unwrap().batch(0, None).await.unwrap();
    assert_eq!(db.steps("job").await, "101 101", "the successor's first batch in part 1, by hand");
}
