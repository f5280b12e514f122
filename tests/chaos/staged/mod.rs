//! Faults that need a stage of their own: each sets one up, does one thing, and says what must be true afterwards.
//!
//! All of them end with the checker. What a machine lacks (root, a program) makes a stage skipped, out loud.

mod backups;
mod binaries;
mod clocks;
mod control;
mod ends;
mod failover;
mod limits;
mod networks;
mod outside;
mod points;
mod poolers;
mod secrets;
mod starts;

use std::time::Duration;

use serde_json::json;

use crate::{
    checker, diary,
    fleet::Fleet,
    history::History,
    tally::Lacking,
    world::{Result, Server, World},
};

/// One of them.
pub struct Stage {
    pub number: &'static str,
    pub name: &'static str,
    scene: Scene,
}

enum Scene {
    Points,
    Poison,
    HeldCommit,
    FrozenAnywhere,
    SilentServer,
    Failover(failover::Loss),
    Restored,
    Network,
    DatabaseClock,
    DiskFull,
    Connections,
    LockTable,
    Stranger,
    TransactionPooler,
    SessionPooler,
    OldReplica,
    OtherSchemas,
    TwoBuilds,
    TwentyAtOnce,
    Calls,
    MidCall(outside::Mishap),
    Rude(outside::Rude),
    Secrets,
    Ends,
    Binaries,
    Backups,
    BeforeTheCall,
    Control,
}

const fn stage(number: &'static str, name: &'static str, scene: Scene) -> Stage {
    Stage { number, name, scene }
}

/// All of them.
pub const ALL: &[Stage] = &[
    stage("F2", "at every named point a replica exits, aborts, panics, freezes", Scene::Points),
    stage("F2", "a run that kills its replica ends at max_attempts", Scene::Poison),
    stage("F4", "a holder frozen between fence and COMMIT", Scene::HeldCommit),
    stage("F4", "a holder frozen anywhere in a batch of one statement", Scene::FrozenAnywhere),
    stage(
        "F9",
        "failover that loses nothing; a standby is refused (F12)",
        Scene::Failover(failover::Loss::Nothing),
    ),
    stage("F10", "failover that loses commits, with a zombie", Scene::Failover(failover::Loss::Commits)),
    stage("F11", "a restored dump waits for adopt()", Scene::Restored),
    stage("F13", "partition by network namespaces", Scene::Network),
    stage("F14", "a server that falls silent, and SIGTERM meanwhile", Scene::SilentServer),
    stage("F17", "the database's clock steps an hour, both ways", Scene::DatabaseClock),
    stage("F19", "the disk is full", Scene::DiskFull),
    stage("F20", "connections are used up", Scene::Connections),
    stage("F21", "the lock table is full", Scene::LockTable),
    stage("F22", "a stranger holds a job's key", Scene::Stranger),
    stage("F23", "PgBouncer in transaction mode is refused", Scene::TransactionPooler),
    stage("F23", "PgBouncer in session mode is safe", Scene::SessionPooler),
    stage("F27", "an older replica leaves alone what it does not know", Scene::OldReplica),
    stage("F27", "an older schema is refused, a newer one worked with", Scene::OtherSchemas),
    stage("F27", "replicas of two builds replace each other", Scene::TwoBuilds),
    stage("F28", "twenty replicas migrate and start at once", Scene::TwentyAtOnce),
    stage("F30", "replicas are killed while they call and start, and the receiver fails", Scene::Calls),
    stage("F30", "a replica is killed in mid-call and mid-program", Scene::MidCall(outside::Mishap::Killed)),
    stage(
        "F30",
        "a session is terminated in mid-call and mid-program",
        Scene::MidCall(outside::Mishap::Terminated),
    ),
    stage("F30", "a holder is frozen in mid-call and mid-program", Scene::MidCall(outside::Mishap::Frozen)),
    stage("F30", "a holder is frozen before its call and before its program", Scene::BeforeTheCall),
    stage("F2", "a backup ends around its manifest", Scene::Backups),
    stage("F31", "the server's files are replaced while it runs", Scene::Binaries),
    stage("secrets", "found nowhere, where all that uses them fails", Scene::Secrets),
    stage("end", "interrupted, killed or failed, the suite leaves nothing behind", Scene::Ends),
    stage("control", "the checker objects to histories that are cut short or forged", Scene::Control),
    stage("mutant", "call-after-takeover", Scene::Rude(outside::Rude::Late)),
    stage("mutant", "call-with-another-key", Scene::Rude(outside::Rude::OtherKey)),
    stage("mutant", "calls-side-by-side", Scene::Rude(outside::Rude::Beside)),
    stage("mutant", "success-without-call", Scene::Rude(outside::Rude::Silent)),
];

impl Stage {
    /// Whether it is played only where that is asked for.
    pub fn is_long(&self) -> bool {
        matches!(self.scene, Scene::Binaries)
    }

    /// Whether it mostly waits, and leaves the suite's server to others.
    pub fn is_patient(&self) -> bool {
        matches!(
            self.scene,
            Scene::SilentServer
                | Scene::Failover(_)
                | Scene::Restored
                | Scene::Network
                | Scene::DatabaseClock
                | Scene::DiskFull
        )
    }

    /// Plays it; what is worth saying of it.
    pub async fn play(&self, server: &Server) -> Result<String> {
        match &self.scene {
            Scene::Points => points::every_point(server).await,
            Scene::Poison => points::poison(server).await,
            Scene::HeldCommit => points::held_commit(server).await,
            Scene::FrozenAnywhere => points::frozen_anywhere(server).await,
            Scene::SilentServer => points::silent_server(server).await,
            Scene::Failover(loss) => failover::promote(*loss).await,
            Scene::Restored => failover::restored(server).await,
            Scene::Network => networks::partition().await,
            Scene::DatabaseClock => clocks::database_clock().await,
            Scene::DiskFull => limits::disk_full().await,
            Scene::Connections => limits::connections(server).await,
            Scene::LockTable => limits::lock_table(server).await,
            Scene::Stranger => limits::stranger(server).await,
            Scene::TransactionPooler => poolers::transaction_mode(server).await,
            Scene::SessionPooler => poolers::session_mode(server).await,
            Scene::OldReplica => starts::old_replica(server).await,
            Scene::OtherSchemas => starts::other_schemas(server).await,
            Scene::TwoBuilds => starts::two_builds(server).await,
            Scene::TwentyAtOnce => starts::twenty_at_once(server).await,
            Scene::Calls => outside::killed(server).await,
            Scene::MidCall(mishap) => outside::in_the_middle(server, *mishap).await,
            Scene::Control => control::objects(server).await,
            Scene::Backups => backups::at_the_manifest(server).await,
            Scene::BeforeTheCall => outside::before_the_call(server).await,
            Scene::Binaries => binaries::replaced(server).await,
            Scene::Ends => ends::nothing_left().await,
            Scene::Secrets => secrets::nowhere(server).await,
            Scene::Rude(rude) => outside::by_hand(server, *rude).await,
        }
    }
}

fn lacking<T>(what: impl Into<String>) -> Result<T> {
    Err(Lacking(what.into()).into())
}

/// Which program `sexton` a replica is, if not that of this build.
pub const BUILD: &str = "CHAOS_SEXTON";
const SOON: Duration = Duration::from_secs(30);
/// A lease short enough not to make a stage long.
const LEASE: Duration = Duration::from_millis(2500);

/// Jobs of the kind `steps` that are due at once, and take about `steps` times 10 ms.
pub async fn due(world: &World, count: usize, steps: i64) -> Result<()> {
    for index in 0..count {
        let params = json!({ "steps": steps, "rest_ms": 8, "transaction": index % 2 == 1 });
        world.job(&format!("due-{index}"), "steps", "manual", params).await?;
    }
    world
        .execute("SELECT sexton.plan(id, revision, schedule, time_zone, NULL, NULL, 0) FROM sexton.job")
        .await?;
    world.execute("SELECT sexton.run_now(name) FROM sexton.job").await
}

/// That many batches were committed.
async fn under_way(world: &World, batches: i64) -> Result<()> {
    world.until("work is under way", SOON, "SELECT count(*) >= $1 FROM chaos.fence", &[&batches]).await
}

/// Every job succeeded and is idle.
pub async fn all_done(world: &World, most: Duration) -> Result<()> {
    let sql = "SELECT NOT EXISTS (SELECT FROM sexton.job j WHERE j.state <> 'idle' OR NOT EXISTS
        (SELECT FROM sexton.run r WHERE r.job_id = j.id AND r.state = 'succeeded'))";
    world.until("all jobs succeed", most, sql, &[]).await
}

/// Lets the checker judge what happened; what it looked at.
async fn judge(world: &World, fleet: Option<&Fleet>) -> Result<String> {
    let mut history = History::read(world).await?;
    if let Some(fleet) = fleet {
        diary::read_into(&mut history, fleet.keeper.diaries())?;
    }
    judge_history(&history)
}

fn judge_history(history: &History) -> Result<String> {
    let verdict = checker::check(history);
    match verdict.violations.first() {
        Some(violation) => {
            Err(format!("{} violations, the first: {violation}", verdict.violations.len()).into())
        }
        None if verdict.seen.batches == 0 => Err("nothing was seen".into()),
        None => {
            Ok(format!("{} attempts, {} batches, 0 violations", verdict.seen.attempts, verdict.seen.batches))
        }
    }
}
