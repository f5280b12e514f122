//! How long until another replica has the job: measured by the database's clock from the fault to the claim.
//!
//! Nothing else happens meanwhile, and the lease is the default one. What is easy to get wrong: a frozen replica's claim
//! is timed from the freeze and not from when somebody noticed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    checker, diary,
    fleet::Fleet,
    history::History,
    proxy::Line,
    world::{Result, Server, World},
};

/// How a holder is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    Crash,
    Terminated,
    Frozen,
    CutOff,
}

impl Loss {
    pub const ALL: [Loss; 4] = [Loss::Crash, Loss::Terminated, Loss::Frozen, Loss::CutOff];

    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Loss::Crash => ("F1", "killed (SIGKILL)"),
            Loss::Terminated => ("F5", "its session terminated"),
            Loss::Frozen => ("F3", "frozen (SIGSTOP)"),
            Loss::CutOff => ("F14", "cut off (nothing passes)"),
        }
    }

    /// The most that the 99th percentile may be.
    pub fn bound(self) -> Duration {
        match self {
            Loss::Crash | Loss::Terminated => Duration::from_millis(1500),
            Loss::Frozen | Loss::CutOff => Duration::from_secs(17),
        }
    }
}

/// Times until the takeover, for each kind of loss.
pub type Times = BTreeMap<Loss, Vec<Duration>>;

/// Few slots, so that the jobs spread; enough that those who are left when six are lost can take them all.
const JOBS: usize = 12;
const REPLICAS: usize = 10;
const SLOTS: u16 = 3;

/// Measures at least that many takeovers of each kind.
pub async fn measure(server: &Server, trials: usize) -> Result<Times> {
    let world = server.world().await?;
    for index in 0..JOBS {
        let params = json!({ "steps": 1_000_000, "rest_ms": 30 });
        world.job(&format!("long-{index}"), "steps", "manual", params).await?;
    }
    let mut fleet = Fleet::start(&world, REPLICAS, None, SLOTS).await?;
    fleet.ready(&world).await?;
    let planned = "SELECT bool_and(planned) FROM sexton.job";
    world.until("all jobs are planned", Duration::from_secs(10), planned, &[]).await?;
    world.execute("SELECT sexton.run_now(name) FROM sexton.job").await?;
    all_run(&world, Duration::from_secs(20)).await?;
    let mut times = Times::new();
    for loss in [Loss::Crash, Loss::Terminated] {
        let mut victim = 0;
        while times.entry(loss).or_default().len() < trials {
            one_by_one(&world, &mut fleet, loss, victim, &mut times).await?;
            victim += 1;
        }
    }
    while times.get(&Loss::CutOff).map_or(0, Vec::len).min(times.get(&Loss::Frozen).map_or(0, Vec::len))
        < trials
    {
        wave(&world, &mut fleet, &mut times).await?;
    }
    world.execute("SELECT sexton.cancel(name) FROM sexton.job WHERE state = 'running'").await?;
    let idle = "SELECT bool_and(state = 'idle') FROM sexton.job";
    world.until("the jobs are cancelled", Duration::from_secs(20), idle, &[]).await?;
    fleet.drain(Duration::from_secs(40)).await?;
    let mut history = History::read(&world).await?;
    diary::read_into(&mut history, fleet.keeper.diaries())?;
    match checker::check(&history).violations.first() {
        Some(violation) => Err(violation.to_string().into()),
        None => Ok(times),
    }
}

/// Every job has a holder whose session is alive.
async fn all_run(world: &World, most: Duration) -> Result<()> {
    let sql = "SELECT bool_and(state = 'running') AND NOT EXISTS (SELECT FROM sexton.orphan) FROM sexton.job";
    world.until("all jobs run", most, sql, &[]).await
}

/// What a replica holds: job and version.
async fn held(world: &World, replica: &str) -> Result<Vec<(i64, i64)>> {
    let rows = world.rows("SELECT id, version FROM sexton.job WHERE holder = $1", &[&replica]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Waits until all of these have another holder; adds how long each took since `at`.
async fn taken(
    world: &World,
    held: &[(i64, i64)],
    at: i64,
    most: Duration,
    times: &mut Vec<Duration>,
) -> Result<()> {
    for (job, version) in held {
        let sql = "SELECT EXISTS (SELECT FROM chaos.trail WHERE job_id = $1 AND version > $2 AND state = 'running')";
        world.until("the job is taken over", most, sql, &[job, version]).await?;
        let sql = "SELECT min(at) FROM chaos.trail WHERE job_id = $1 AND version > $2 AND state = 'running'";
        let claimed: jiff::Timestamp = world.get(sql, &[job, version]).await?;
        times.push(Duration::from_micros(u64::try_from(claimed.as_microsecond() - at).unwrap_or(0)));
    }
    Ok(())
}

async fn one_by_one(
    world: &World,
    fleet: &mut Fleet,
    loss: Loss,
    victim: usize,
    times: &mut Times,
) -> Result<()> {
    let count = fleet.members.len();
    let member = &mut fleet.members[victim % count];
    let mut held = held(world, &member.setup.name).await?;
    let at;
    if loss == Loss::Crash {
        at = now();
        member.process.kill();
    } else {
        held.truncate(1);
        at = now();
        for (job, _) in &held {
            world
                .rows("SELECT pg_terminate_backend(holder_pid) FROM sexton.job WHERE id = $1", &[job])
                .await?;
        }
    }
    taken(world, &held, at, Duration::from_secs(20), times.entry(loss).or_default()).await?;
    if loss == Loss::Crash {
        member.restart(&fleet.keeper, &[])?;
        // Others hold everything now; the new one gets its share by the next crash.
        fleet.ready(world).await?;
    }
    all_run(world, Duration::from_secs(20)).await
}

/// Freezes three replicas and cuts three off at about the same time, each at a moment of its own.
async fn wave(world: &World, fleet: &mut Fleet, times: &mut Times) -> Result<()> {
    let mut struck = Vec::new();
    let mut order = Vec::new();
    for (index, member) in fleet.members.iter().enumerate() {
        order.push((held(world, &member.setup.name).await?.len(), index));
    }
    // Those that hold the most, so that a wave gives as many figures as it can.
    order.sort_unstable_by(|a, b| b.cmp(a));
    for (place, (_, index)) in order.into_iter().take(6).enumerate() {
        let loss = if place % 2 == 0 { Loss::Frozen } else { Loss::CutOff };
        let member = &mut fleet.members[index];
        let held = held(world, &member.setup.name).await?;
        let at = now();
        match loss {
            Loss::Frozen => member.process.signal(Signal::SIGSTOP),
            _ => member.proxy.set(Line::Dead),
        }
        struck.push((loss, held, at));
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
    }
    let deadline = Instant::now() + Duration::from_secs(40);
    for (loss, held, at) in &struck {
        let left = deadline.saturating_duration_since(Instant::now());
        taken(world, held, *at, left, times.entry(*loss).or_default()).await?;
    }
    fleet.heal()?;
    all_run(world, Duration::from_secs(30)).await?;
    fleet.ready(world).await
}

/// The value below which that share of the times lies (nearest rank), and so 1.0 for the longest.
pub fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (share * times.len() as f64).ceil() as usize;
    times.get(rank.clamp(1, times.len().max(1)) - 1).copied().unwrap_or_default()
}
