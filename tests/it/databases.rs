//! Work in other databases: the token goes with it, and each batch is done once, whatever happens to either side.
//!
//! Each claim of safety has its negative control: the same history with a patched function, where the harm is done.

use serde_json::json;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::{
    databases_support::World,
    support::{Db, Replica, Steps, code},
};

#[tokio::test]
async fn the_work_is_done_there_and_recorded_here() {
    for transaction in [false, true] {
        let world = World::new().await;
        world.steps(json!({"steps": 3, "transaction": transaction})).await;
        let ran = world.run().await;
        assert_eq!((ran.state.as_str(), ran.batches, ran.rows, ran.error), ("succeeded", 3, 3, None));
        assert_eq!(world.there.steps("job").await, "1 2 3");
        assert_eq!(world.home.steps("job").await, "");
        let row = "SELECT job_name || ' ' || seq || ' ' || (cursor ->> 'done') || ' ' || (done_by = run_id) FROM sexton_fence.job";
        assert_eq!(world.there.get::<String>(row, &[]).await, "job 3 3 true");
        world.run().await;
        assert_eq!(world.there.steps("job").await, "1 2 3 1 2 3", "the next occurrence begins anew");
        world.assert_exact().await;
    }
}

/// Somebody with a token, by hand, on a session there.
struct Hand {
    client: Client,
    version: i64,
    run: Uuid,
}

impl Hand {
    async fn new(there: &Db, version: i64) -> Hand {
        Hand { client: there.session().await, version, run: Uuid::now_v7() }
    }

    /// Puts the token in its place; returns the cursor that is there.
    async fn install(&self) -> Result<Option<String>, Error> {
        let sql = "SELECT cursor #>> '{}' FROM sexton_fence.install($1, 7, 'job', 1, $2, $3)";
        Ok(self.client.query_one(sql, &[&Uuid::nil(), &self.version, &self.run]).await?.get(0))
    }

    /// A batch: a step, and the check.
    async fn batch(&self, seq: i64, step: i64) -> Result<(), Error> {
        let sql = "WITH effect AS (INSERT INTO public.ledger (job, occurrence, step, version, run_id)
                     VALUES ('job', 'epoch', $5::bigint, $2, $3) RETURNING 1)
                   SELECT sexton_fence.check($1, 7, 1, $2, $3, $4, count(*), to_jsonb($5::bigint)) FROM effect";
        let (version, run) = (&self.version, &self.run);
        self.client.query_one(sql, &[&Uuid::nil(), version, run, &seq, &step]).await.map(drop)
    }
}

#[tokio::test]
async fn once_a_later_token_is_there_no_batch_of_an_earlier_one_commits() {
    let there = World::new().await.there;
    let (early, late) = (Hand::new(&there, 5).await, Hand::new(&there, 6).await);
    assert_eq!(early.install().await.unwrap(), None);
    early.batch(0, 1).await.unwrap();
    assert_eq!(early.install().await.unwrap().as_deref(), Some("1"), "the same again is well");
    assert_eq!(late.install().await.unwrap().as_deref(), Some("1"), "it goes on where the other was");
    assert_eq!(code(early.batch(1, 2).await), "SX001");
    assert_eq!(code(early.install().await), "SX001", "it never comes back");
    late.batch(0, 2).await.unwrap();
    assert_eq!(code(late.batch(0, 2).await), "SX004", "nor does a batch");
    let twin = Hand::new(&there, 6).await;
    assert_eq!(code(twin.install().await), "SX001", "a failover issued the version twice");
    assert_eq!(code(twin.batch(0, 3).await), "SX001");
    assert_eq!(there.steps("job").await, "1 2");
}

#[tokio::test]
async fn without_the_check_an_earlier_token_does_the_step_again() {
    let there = World::new().await.there;
    there.patch("sexton_fence.check", "IS DISTINCT FROM (p_epoch", "IS NULL AND NULL = (p_epoch").await;
    let (early, late) = (Hand::new(&there, 5).await, Hand::new(&there, 6).await);
    early.install().await.unwrap();
    late.install().await.unwrap();
    late.batch(0, 1).await.unwrap();
    early.batch(0, 1).await.unwrap();
    assert_eq!(there.steps("job").await, "1 1", "the control sees the violation");
}

#[tokio::test]
async fn jobs_that_were_not_there_for_long_are_forgotten_and_no_others() {
    let there = World::new().await.there;
    let hand = Hand::new(&there, 5).await;
    hand.install().await.unwrap();
    hand.batch(0, 1).await.unwrap();
    let others = "INSERT INTO sexton_fence.job (install_id, job_id, job_name, epoch, version, run_id, installed_at, done_by, seq, rows, cursor, moved_at)
        SELECT install_id, n, 'other', 1, 1, run_id, now() - came * interval '1 day', run_id, 1, 1, 'null', now() - moved * interval '1 day'
          FROM sexton_fence.job, (VALUES (102, 20, 20), (104, 40, 40), (200, 40, 0)) v(n, came, moved);
        UPDATE sexton_fence.job SET installed_at = now() - interval '1 year', moved_at = now() - interval '1 year' WHERE job_id = 7";
    there.execute(others).await;
    hand.install().await.unwrap();
    let left = "SELECT string_agg(job_id::text, ' ' ORDER BY job_id) FROM sexton_fence.job";
    assert_eq!(there.get::<String>(left, &[]).await, "7 102 200");
}

#[tokio::test]
async fn an_install_waits_for_a_batch_that_is_committing() {
    let there = World::new().await.there;
    let (early, late) = (Hand::new(&there, 5).await, Hand::new(&there, 6).await);
    early.install().await.unwrap();
    early.client.batch_execute("BEGIN").await.unwrap();
    early.batch(0, 1).await.unwrap();
    let mut install = Box::pin(late.install());
    let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event_type = 'Lock' AND query LIKE '%sexton_fence.install%'";
    tokio::select! {
        _ = &mut install => panic!("it came in between"),
        () = there.until("the install waits", waits, &[]) => {}
    }
    early.client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(install.await.unwrap().as_deref(), Some("1"), "and sees the batch");
}

/// The home database as it is when its holder dies between the two commits of the second batch: there it is done.
async fn one_batch_behind(world: &World) {
    world.steps(json!({"steps": 4})).await;
    let ran = world.occurrence().kill_after_batches(2).run().await.unwrap();
    assert_eq!((ran.state.as_str(), ran.batches), ("running", 2));
    let behind = "UPDATE sexton.run_part SET seq = 1, rows = 1, cursor = '{\"done\": 1}'";
    world.home.execute(behind).await;
}

#[tokio::test]
async fn what_committed_there_and_was_not_recorded_here_is_recorded_and_not_repeated() {
    let world = World::new().await;
    one_batch_behind(&world).await;
    let ran = world.run().await;
    assert_eq!((ran.state.as_str(), ran.batches, ran.attempt), ("succeeded", 2, 2));
    assert_eq!(world.there.steps("job").await, "1 2 3 4");
    let lost = "SELECT state || ' ' || batches || ' ' || rows_done FROM sexton.run WHERE attempt = 1";
    assert_eq!(world.home.get::<String>(lost, &[]).await, "lost 2 2");
    world.assert_exact().await;
}

#[tokio::test]
async fn by_what_is_recorded_here_alone_the_step_is_done_again() {
    let world = World::new().await;
    world.there.patch("sexton_fence.install", "RETURN f;", "f.cursor := '{\"done\": 1}'; RETURN f;").await;
    one_batch_behind(&world).await;
    world.run().await;
    assert_eq!(world.there.steps("job").await, "1 2 2 3 4", "the control sees the violation");
}

#[tokio::test]
async fn what_was_lost_there_is_done_again() {
    let world = World::new().await;
    world.steps(json!({"steps": 4})).await;
    world.occurrence().kill_after_batches(3).run().await.unwrap();
    // A failover there that lost the last two batches.
    world
        .there
        .execute("DELETE FROM public.ledger WHERE step > 1; UPDATE sexton_fence.job SET seq = 1, cursor = '{\"done\": 1}'")
        .await;
    let ran = world.run().await;
    assert_eq!((ran.state.as_str(), ran.batches), ("succeeded", 3));
    assert_eq!(world.there.steps("job").await, "1 2 3 4");
}

#[tokio::test]
async fn when_a_pause_has_returned_no_batch_commits_there() {
    let world = World::new().await;
    world.steps(json!({"steps": 3, "hold_within": 2})).await;
    let meanwhile = async {
        world.there.until_steps("job", 1).await;
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                       AND query LIKE '%public.pass(%' AND pid <> pg_backend_pid()";
        world.there.until("the second batch is on its way", waits, &[]).await;
        // It need not wait for the batch: the row is locked for the two commits alone.
        world.home.verb("pause", "job").await;
        world.there.open_gate("gate").await;
    };
    let (ran, ()) = tokio::join!(world.run(), meanwhile);
    assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("released", Some("paused")));
    assert_eq!(world.there.steps("job").await, "1");
    world.home.verb("resume", "job").await;
    assert_eq!(world.run().await.state, "succeeded");
    assert_eq!(world.there.steps("job").await, "1 2 3");
    world.assert_exact().await;
}

/// A pause while the check of a batch waits there. Returns the steps that had been done when it returned, those in the end,
/// and whether it waited.
async fn pause_while_a_batch_is_committing_there(world: &World) -> (String, String, bool) {
    // So many that the run is not over when the pause, which waits no more, gets its turn.
    world.steps(json!({"steps": 100, "hold_before": 2})).await;
    let meanwhile = async {
        world.there.until_steps("job", 1).await;
        let holder = world.there.session().await;
        holder.batch_execute("BEGIN; SELECT FROM sexton_fence.job FOR UPDATE").await.unwrap();
        world.there.open_gate("gate").await;
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND query LIKE '%sexton_fence.check%'";
        world.there.until("the check waits", waits, &[]).await;
        let operator = world.home.session().await;
        let mut pause = Box::pin(operator.batch_execute("SELECT sexton.pause('job')"));
        let waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND query LIKE '%sexton.pause(%'";
        let waited = tokio::select! {
            paused = &mut pause => {
                paused.unwrap();
                false
            }
            () = world.home.until("the pause waits", waits, &[]) => true,
        };
        let mut when_it_returned = world.there.steps("job").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        if waited {
            pause.await.unwrap();
            when_it_returned = world.there.steps("job").await;
        }
        (when_it_returned, waited)
    };
    let (ran, (when_it_returned, waited)) = tokio::join!(world.run(), meanwhile);
    assert_eq!(ran.state, "released");
    (when_it_returned, world.there.steps("job").await, waited)
}

#[tokio::test]
async fn a_pause_waits_for_a_batch_that_is_committing_there() {
    let world = World::new().await;
    let (when_it_returned, in_the_end, waited) = pause_while_a_batch_is_committing_there(&world).await;
    assert!(waited);
    assert_eq!(when_it_returned, in_the_end, "nothing commits behind it");
    world.assert_exact().await;
}

#[tokio::test]
async fn without_the_lock_at_home_a_batch_commits_behind_a_pause_there() {
    let world = World::new().await;
    world.home.patch("sexton.fence", "p_job FOR SHARE", "p_job").await;
    let seen = pause_while_a_batch_is_committing_there(&world).await;
    assert_eq!(seen, ("1".to_owned(), "1 2".to_owned(), false), "the control sees the violation");
}

#[tokio::test]
async fn a_run_that_is_dropped_between_the_two_fences_can_be_ended() {
    let world = World::new().await;
    world.steps(json!({"steps": 3, "hold_before": 2})).await;
    world.home.execute("UPDATE sexton.job SET timeout = '1 second', max_attempts = 1").await;
    let meanwhile = async {
        world.there.until_steps("job", 1).await;
        let holder = world.there.session().await;
        holder.batch_execute("BEGIN; SELECT FROM sexton_fence.job FOR UPDATE").await.unwrap();
        world.there.open_gate("gate").await;
        world.home.until_outcomes("job", "timed_out").await;
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ran, ()) = tokio::join!(world.run(), meanwhile);
    assert_eq!((ran.state.as_str(), ran.batches), ("timed_out", 1));
    assert_eq!(world.there.steps("job").await, "1");
}

#[tokio::test]
async fn a_run_ends_with_its_own_session_though_its_work_is_there() {
    let world = World::new().await;
    world.steps(json!({"steps": 3, "hold_within": 2})).await;
    let first = Replica::with(&world.home, |builder| builder.registry(world.registry(Steps::registry())));
    world.home.until_job("job", "planned").await;
    world.home.verb("run_now", "job").await;
    world.there.until_steps("job", 1).await;
    world.home.execute("SELECT pg_terminate_backend(holder_pid) FROM sexton.job").await;
    // The statement there is cancelled, without the gate.
    world.home.until_outcomes("job", "lost running").await;
    world.there.open_gate("gate").await;
    world.home.until_outcomes("job", "lost succeeded").await;
    assert_eq!(world.there.steps("job").await, "1 2 3");
    world.assert_exact().await;
    first.drain().await;
}

#[tokio::test]
async fn a_replica_that_drains_gives_the_work_to_another() {
    let world = World::new().await;
    world.steps(json!({"steps": 3, "hold_before": 2})).await;
    let with = || Replica::with(&world.home, |builder| builder.registry(world.registry(Steps::registry())));
    let first = with();
    world.home.until_job("job", "planned").await;
    world.home.verb("run_now", "job").await;
    world.there.until_steps("job", 1).await;
    first.drain().await;
    world.there.open_gate("gate").await;
    let second = with();
    world.home.until_outcomes("job", "released succeeded").await;
    assert_eq!(world.there.steps("job").await, "1 2 3");
    world.assert_exact().await;
    second.drain().await;
}
