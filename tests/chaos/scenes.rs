//! Short plays with clients by hand, each about one sentence of the protocol. See `mutants` for what they are for.
//!
//! A scene says what its actors try. What they may do is up to the database, so most calls are allowed to fail; what
//! came of it is for the checker to judge. What is easy to get wrong: a scene whose actors stop at the first refusal
//! would never come to the point where a mutant does harm.

use std::time::Duration;

use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::{
    hand::{Hand, Manners, due_job, plan},
    world::{Result, World},
};

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Somebody whose run was killed goes on with his batches.
    ZombieBatch,
    /// An operator kills between fence and commit.
    VerbAtCommit,
    /// A failover takes a claim back, another gets the same version, and the first one comes back.
    VersionTwice,
    /// A batch is sent twice.
    BatchTwice,
    /// An operator says stop, and a batch follows.
    Verb(&'static str),
    /// Everything is halted, and a destructive job is due.
    ClaimWhileHalted,
    /// A claim with a version that was read long ago.
    StaleClaim,
    /// Two try for one job.
    TwoClaims,
    /// Two try for one job, with locks that do not exclude one another.
    TwoSharedClaims,
    /// Somebody takes what the scan for orphans shows, while its holder is alive.
    OrphanScan,
    /// Somebody whose run was killed reports success.
    ZombieFinish,
    /// A holder says that all is done, and it is not.
    FinishEarly,
    /// A run is killed, and the next one completes the occurrence.
    KillAndGoOn,
    /// Each attempt dies.
    CrashAgainAndAgain,
    /// The job is edited in mid-run, and the next run completes it.
    EditAndGoOn,
    /// Run now, while it runs.
    RunNowWhileRunning,
    /// A run takes longer than its period.
    Coalesce,
    /// After a failover the same version is given out again.
    TokenTwice,
    /// Batches of several statements, as they should be.
    BatchesInTransactions,
    /// The effect commits, then the fence.
    FenceApart,
    /// The cursor commits, then the effect.
    CursorApart,
    /// Effects without any fence.
    NoFence,
    /// The answer of COMMIT is taken for the batch's.
    CommitTrusted,
}

/// Tokens handed to the outside: job, token, run.
pub type Tokens = Vec<(String, String, Uuid)>;

/// Plays it; how it ended, and the tokens that were handed out.
pub async fn play(world: &World, scene: Scene) -> (Result<()>, Tokens) {
    let mut tokens = Tokens::new();
    let ended = async {
        due_job(world, "scene", 3).await?;
        act(world, scene, &mut tokens).await
    };
    (ended.await, tokens)
}

async fn act(world: &World, scene: Scene, tokens: &mut Tokens) -> Result<()> {
    match scene {
        Scene::ZombieBatch => zombie_batch(world).await,
        Scene::VerbAtCommit => verb_at_commit(world).await,
        Scene::VersionTwice => version_twice(world).await,
        Scene::BatchTwice => batch_twice(world).await,
        Scene::Verb(verb) => verb_then_batch(world, verb).await,
        Scene::ClaimWhileHalted => claim_while_halted(world).await,
        Scene::StaleClaim => stale_claim(world).await,
        Scene::TwoClaims => two_claims(world, Manners::Locked).await,
        Scene::TwoSharedClaims => two_claims(world, Manners::SharedLock).await,
        Scene::OrphanScan => orphan_scan(world).await,
        Scene::ZombieFinish => zombie_finish(world).await,
        Scene::FinishEarly => finish_early(world).await,
        Scene::KillAndGoOn => kill_and_go_on(world).await,
        Scene::CrashAgainAndAgain => crash_again_and_again(world).await,
        Scene::EditAndGoOn => edit_and_go_on(world).await,
        Scene::RunNowWhileRunning => run_now_while_running(world).await,
        Scene::Coalesce => coalesce(world).await,
        Scene::TokenTwice => token_twice(world, tokens).await,
        Scene::BatchesInTransactions => batches_in_transactions(world).await,
        Scene::FenceApart => fence_apart(world).await,
        Scene::CursorApart => cursor_apart(world).await,
        Scene::NoFence => no_fence(world).await,
        Scene::CommitTrusted => commit_trusted(world).await,
    }
}

/// What the actor does not ask about.
fn whatever<T>(_: std::result::Result<T, Error>) {}

async fn zombie_batch(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.verb("kill", "scene").await?;
    whatever(old.batch().await);
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(3).await
}

async fn verb_at_commit(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    old.client.batch_execute("BEGIN").await?;
    old.effect(2).await?;
    old.fence(1, 2).await?;
    let operator = world.session().await?;
    let pid: i32 = operator.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let kill = tokio::spawn(async move { operator.execute("SELECT sexton.kill('scene')", &[]).await });
    let waits =
        "SELECT $2 OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')
        OR EXISTS (SELECT FROM sexton.run WHERE state = 'lost')";
    world
        .until("the kill returns or waits", Duration::from_secs(10), waits, &[&pid, &kill.is_finished()])
        .await?;
    old.client.batch_execute("COMMIT").await?;
    kill.await??;
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(3).await
}

/// Puts the job back to where it was before its last claim, as a failover that lost the claim would.
async fn lose_the_claim(world: &World) -> Result<()> {
    world
        .execute(
            "SET session_replication_role = replica;
             DELETE FROM sexton.run_part; DELETE FROM sexton.run WHERE state = 'running';
             UPDATE sexton.job SET state = 'idle', version = version - 1, attempt = attempt - 1, run_id = NULL,
                 replica_id = NULL, holder = NULL, holder_pid = NULL;
             TRUNCATE chaos.trail; RESET session_replication_role;",
        )
        .await
}

async fn version_twice(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    lose_the_claim(world).await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    whatever(old.batch().await);
    new.complete(3).await
}

async fn batch_twice(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    let sent = (hand.done, hand.seq);
    (hand.done, hand.seq) = (0, 0);
    whatever(hand.batch().await);
    (hand.done, hand.seq) = sent;
    hand.complete(3).await
}

async fn verb_then_batch(world: &World, verb: &str) -> Result<()> {
    let destructive = matches!(verb, "disarm" | "pause_all");
    let mut hand = if destructive {
        world.verb("arm", "scene").await?;
        Hand::claim_destructive(world, "scene").await?
    } else {
        Hand::claim(world, "scene").await?
    };
    hand.batch().await?;
    match verb {
        "edit" => world.execute("UPDATE sexton.job SET params = '{\"steps\": 4}'").await?,
        "pause_all" => world.execute("SELECT sexton.pause_all('scene')").await?,
        _ => world.verb(verb, "scene").await.map(drop)?,
    }
    whatever(hand.batch().await);
    Ok(())
}

async fn claim_while_halted(world: &World) -> Result<()> {
    world.verb("arm", "scene").await?;
    world.execute("SELECT sexton.pause_all('scene')").await?;
    if let Ok(mut hand) = Hand::claim_destructive(world, "scene").await {
        whatever(hand.batch().await);
    }
    Ok(())
}

async fn stale_claim(world: &World) -> Result<()> {
    let read: i64 = world.get("SELECT version FROM sexton.job", &[]).await?;
    let mut first = Hand::claim(world, "scene").await?;
    first.batch().await?;
    first.die(world).await?;
    let stale = Hand::claim_at(world, "scene", read, Manners::Locked, false).await;
    if let Ok(stale) = stale {
        stale.die(world).await?;
    }
    Hand::claim(world, "scene").await?.complete(3).await
}

async fn two_claims(world: &World, manners: Manners) -> Result<()> {
    let read: i64 = world.get("SELECT version FROM sexton.job", &[]).await?;
    let mut first = Hand::claim_at(world, "scene", read, manners, false).await?;
    first.batch().await?;
    if let Ok(mut second) = Hand::claim_at(world, "scene", read + 1, manners, false).await {
        whatever(second.batch().await);
    }
    first.complete(3).await
}

async fn orphan_scan(world: &World) -> Result<()> {
    let mut holder = Hand::claim(world, "scene").await?;
    holder.batch().await?;
    if world.get("SELECT EXISTS (SELECT FROM sexton.orphan)", &[]).await? {
        let mut other = Hand::claim_at(world, "scene", holder.version, Manners::NoLock, false).await?;
        return other.complete(3).await;
    }
    holder.complete(3).await
}

async fn zombie_finish(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.verb("kill", "scene").await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    whatever(old.finish("succeeded", old.seq).await);
    new.complete(3).await
}

async fn finish_early(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    whatever(hand.finish("succeeded", 3).await);
    hand.complete(3).await
}

async fn kill_and_go_on(world: &World) -> Result<()> {
    due_regularly(world).await?;
    let mut old = Hand::claim(world, "grid").await?;
    old.batch().await?;
    world.verb("kill", "grid").await?;
    old.die(world).await?;
    let mut new = Hand::claim(world, "grid").await?;
    new.batch().await?;
    finish_regularly(&new).await
}

async fn crash_again_and_again(world: &World) -> Result<()> {
    world.execute("UPDATE sexton.job SET max_attempts = 2").await?;
    for _ in 0..4 {
        let Ok(hand) = Hand::claim(world, "scene").await else { continue };
        hand.die(world).await?;
    }
    Ok(())
}

async fn edit_and_go_on(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.execute("UPDATE sexton.job SET params = '{\"steps\": 2}'").await?;
    whatever(old.batch().await);
    old.finish("superseded", old.seq).await?;
    plan(world, "scene").await?;
    world.execute("SELECT sexton.accept(id, revision) FROM sexton.job").await?;
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(2).await
}

async fn run_now_while_running(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    world.execute(&accepted_run_now("scene")).await?;
    hand.complete(3).await?;
    hand.die(world).await?;
    match Hand::claim(world, "scene").await {
        Ok(mut again) => again.complete(3).await,
        Err(_) => Ok(()),
    }
}

/// Asks for a run and notes that it was accepted, or neither.
pub fn accepted_run_now(job: &str) -> String {
    format!(
        "BEGIN; SELECT sexton.run_now('{job}');
         INSERT INTO chaos.accepted (job_id, verb) SELECT id, 'run_now' FROM sexton.job WHERE name = '{job}'; COMMIT"
    )
}

/// Three instants pass while a run of an `every 1s` is at work; its holder reports them.
async fn coalesce(world: &World) -> Result<()> {
    due_regularly(world).await?;
    let mut hand = Hand::claim(world, "grid").await?;
    hand.batch().await?;
    finish_regularly(&hand).await
}

/// A job `every 1s` that was due five seconds ago.
async fn due_regularly(world: &World) -> Result<()> {
    world.job("grid", "steps", "every 1s", serde_json::json!({ "steps": 1 })).await?;
    world
        .execute(
            "SELECT sexton.plan(id, revision, schedule, time_zone, date_trunc('second', now()) - interval '5 s', NULL, 0)
               FROM sexton.job WHERE name = 'grid'",
        )
        .await
}

/// Ends its run, three instants having passed since.
async fn finish_regularly(hand: &Hand) -> Result<()> {
    let sql = "SELECT sexton.finish(id, version, run_id, 'succeeded', NULL, '{}', $1, '0', schedule, time_zone,
                 scheduled_at + interval '4 s', scheduled_at + interval '4 s', 3, NULL) FROM sexton.job WHERE name = 'grid'";
    hand.client.execute(sql, &[&hand.seq]).await?;
    Ok(())
}

async fn token_twice(world: &World, tokens: &mut Tokens) -> Result<()> {
    let observe =
        |client: Client| async move { client.execute("SELECT sexton.observe()", &[]).await.map(drop) };
    observe(world.session().await?).await?;
    let old = Hand::claim(world, "scene").await?;
    tokens.push((old.name.clone(), format!("{}.{}", old.epoch, old.version), old.run));
    lose_the_claim(world).await?;
    world.execute("UPDATE sexton.meta SET timeline = timeline - 1").await?;
    observe(world.session().await?).await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    tokens.push((new.name.clone(), format!("{}.{}", new.epoch, new.version), new.run));
    new.complete(3).await
}

async fn batches_in_transactions(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.client.batch_execute("BEGIN").await?;
        hand.effect(step).await?;
        hand.fence(i64::from(step) - 1, step).await?;
        hand.client.batch_execute("COMMIT").await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

async fn fence_apart(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.effect(step).await?;
        hand.fence(i64::from(step) - 1, step).await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

async fn cursor_apart(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.fence(i64::from(step) - 1, step).await?;
        hand.effect(step).await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

async fn no_fence(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.effect(step).await?;
    }
    Ok(hand.finish("succeeded", 0).await?)
}

/// The second batch fails within its transaction; COMMIT answers ROLLBACK, and the client takes that for success.
async fn commit_trusted(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.client.batch_execute("BEGIN").await?;
        hand.effect(step).await?;
        if step == 2 {
            whatever(hand.client.execute("SELECT 1 / 0", &[]).await);
        }
        whatever(hand.fence(i64::from(step) - 1, step).await);
        hand.client.batch_execute("COMMIT").await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}
