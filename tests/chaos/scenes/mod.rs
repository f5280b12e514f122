//! Short plays with clients by hand, each about one sentence of the protocol. See `mutants` for what they are for.
//!
//! A scene says what its actors try. What they may do is up to the database, so most calls are allowed to fail; what
//! came of it is for the checker to judge. What is easy to get wrong: a scene whose actors stop at the first refusal
//! would never come to the point where a mutant does harm.

mod batches;
mod claims;
mod crossings;
mod ends;

use tokio_postgres::Error;
use uuid::Uuid;

use self::{batches::*, claims::*, crossings::*, ends::*};
use crate::{
    hand::{Manners, due_job},
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
    /// A claim of a job that is paused.
    ClaimPaused,
    /// A claim of a job whose time has not come.
    ClaimEarly,
    /// A claim by what was read before an edit.
    ClaimAfterEdit,
    /// A dry run dies, and the job is armed.
    DryThenReal,
    /// A worker outlives the session of its run.
    WorkerStays,
    /// Two jobs that want one resource.
    OneWell,
    /// More one-offs than may run at a time.
    OnePlace,
    /// Two one-offs of one key.
    OneKey,
    /// Attempts die, and old runs are pruned.
    PruneBegun,
    /// A run is killed, and it is too late for its occurrence.
    TooLateForTheRest,
    /// A pause while a claim is on its way.
    PauseAtClaim,
    /// A halt while a destructive claim is on its way.
    HaltAtClaim,
    /// Run now, while the run before is being ended.
    RunNowAtFinish,
    /// A kill, while the run is being ended.
    KillAtFinish,
    /// A run that is to be cancelled is given back by its holder.
    CancelAndRelease,
    /// A run that is to be cancelled loses its session first.
    CancelAndDie,
    /// An operator halts everything between fence and commit of a destructive batch.
    HaltAtCommit,
    /// A hold is set between fence and commit of a batch that deletes one of its rows.
    HoldAtCommit,
    /// Two one-offs are claimed at the same moment, and one may run.
    OnePlaceAtOnce,
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
        Scene::ClaimPaused => claim_paused(world).await,
        Scene::ClaimEarly => claim_early(world).await,
        Scene::ClaimAfterEdit => claim_after_edit(world).await,
        Scene::DryThenReal => dry_then_real(world).await,
        Scene::WorkerStays => worker_stays(world).await,
        Scene::OneWell => one_well(world).await,
        Scene::OnePlace => one_offs(world, ["a", "b"], 1).await,
        Scene::OneKey => one_offs(world, ["a", "a"], 2).await,
        Scene::PruneBegun => prune_begun(world).await,
        Scene::TooLateForTheRest => too_late_for_the_rest(world).await,
        Scene::PauseAtClaim => pause_at_claim(world).await,
        Scene::HaltAtClaim => halt_at_claim(world).await,
        Scene::RunNowAtFinish => run_now_at_finish(world).await,
        Scene::KillAtFinish => kill_at_finish(world).await,
        Scene::CancelAndRelease => cancel_and_release(world).await,
        Scene::CancelAndDie => cancel_and_die(world).await,
        Scene::HaltAtCommit => halt_at_commit(world).await,
        Scene::HoldAtCommit => hold_at_commit(world).await,
        Scene::OnePlaceAtOnce => one_place_at_once(world).await,
    }
}

/// What the actor does not ask about.
fn whatever<T>(_: std::result::Result<T, Error>) {}
