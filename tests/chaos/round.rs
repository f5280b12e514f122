//! One round of the campaign: a database, six replicas, a dozen jobs, faults by lot until there were enough attempts.
//!
//! Then everything is healed, the jobs must come to rest by themselves, and the checker reads what happened.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    application::Application,
    backups, canary,
    checker::{self, Verdict},
    diary,
    dice::Dice,
    faults::Fault,
    history::History,
    jobs::{self, ONE_OFFS},
    nemesis::{Injected, Nemesis},
    outside::{self, Outside},
    process::{Program, Setup},
    storm::{Storm, Verbs},
    world::{Result, Server, World},
};

/// Replicas of this binary, and processes of `sexton run` beside them.
const REPLICAS: (usize, usize) = (5, 2);
const LEASE: Duration = Duration::from_secs(3);

/// How long it may take until the jobs have come to rest. On a machine that is busy with other things, it does take long.
const REST_MAX: Duration = Duration::from_secs(180);

/// What came of it.
pub struct Round {
    pub verdict: Verdict,
    pub injected: Injected,
    /// How long each verb took, and an empty statement just before it.
    pub verbs: Verbs,
    pub drains: Vec<Duration>,
    pub took: Duration,
}

/// Plays one until there were that many attempts.
pub async fn play(server: &mut Server, seed: u64, attempts: i64, faults: Vec<Fault>) -> Result<Round> {
    let mut cast = Cast::begin(server, seed).await?;
    let struck = strike_until(&mut cast.nemesis, seed, attempts, faults).await;
    cast.end(struck).await
}

/// Who plays in a round.
pub struct Cast<'a> {
    pub nemesis: Nemesis<'a>,
    pub outside: Outside,
    storm: Storm,
    application: Application,
    began: Instant,
}

impl<'a> Cast<'a> {
    /// A database with its jobs, replicas, operators and the application, all of them at work.
    pub async fn begin(server: &'a mut Server, seed: u64) -> Result<Cast<'a>> {
        let began = Instant::now();
        let world = server.world().await?;
        let outside = Outside::start(seed).await?;
        let mut names = outside::create_jobs(&world).await?;
        names.extend(jobs::create(&world).await?);
        let mut fleet = outside.fleet(&world, REPLICAS.0, LEASE).await?;
        for index in 0..REPLICAS.1 {
            let sexton = |setup| outside.known_to(Setup { program: Program::Sexton, ..setup });
            fleet.join(&world, REPLICAS.0 + index, sexton).await?;
        }
        fleet.ready(&world).await?;
        let storm = Storm::start(world.clone(), seed ^ 0x5eed, names);
        let application = Application::start(world.clone(), seed ^ 0xa99);
        Ok(Cast { nemesis: Nemesis::new(server, world, fleet), outside, storm, application, began })
    }

    /// Heals everything, waits until the jobs have come to rest, and has what happened judged.
    pub async fn end(self, struck: Result<()>) -> Result<Round> {
        let Cast { mut nemesis, outside, storm, application, began } = self;
        let world = nemesis.world.clone();
        let (verbs, rescued) = (storm.stop().await?, application.stop().await?);
        nemesis.relent().await?;
        struck?;
        outside.sink.relent();
        come_to_rest(&world).await?;
        nemesis.fleet.drain(Duration::from_secs(40)).await?;
        canary::look(&world, nemesis.fleet.keeper.diaries(), &nemesis.server.cluster.log_file()).await?;
        exercised(&world).await?;
        nobody_blamed(&world).await?;
        if rescued == 0 || backups::presented(&outside).await?.is_empty() {
            return Err(format!("too thin to judge: {rescued} rows rescued, or no backup").into());
        }
        let mut history = History::read(&world).await?;
        diary::read_into(&mut history, nemesis.fleet.keeper.diaries())?;
        outside.read_into(&mut history)?;
        history.excuses = std::mem::take(&mut nemesis.excuses);
        let verdict = checker::check(&history);
        let Nemesis { injected, drains, .. } = nemesis;
        Ok(Round { verdict, injected, verbs, drains, took: began.elapsed() })
    }
}

async fn strike_until(nemesis: &mut Nemesis<'_>, seed: u64, attempts: i64, faults: Vec<Fault>) -> Result<()> {
    let began = Instant::now();
    let deadline = began + Duration::from_secs(60) + Duration::from_millis(400) * u32::try_from(attempts)?;
    for (number, draw) in Dice::new(seed, faults).enumerate() {
        nemesis.strike(&draw).await.map_err(|error| format!("{draw:?}: {error}"))?;
        if number % 5 == 4 && nemesis.server.cluster.pid().is_some() {
            // What purges are for; if the server has just gone away, the next time will do.
            let _ = nemesis.world.execute("SELECT chaos.breed(60), chaos.pair(5)").await;
        }
        if number % 10 == 9 && nemesis.server.cluster.pid().is_some() {
            // With the server down, the next time will do.
            match canary::look_now(&nemesis.world).await {
                Err(error) if error.to_string().contains(" stands in ") => return Err(error),
                _ => {}
            }
            let made: i64 = nemesis.world.get("SELECT count(*) FROM chaos.run", &[]).await.unwrap_or(0);
            if made >= attempts {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "only {made} of {attempts} attempts in {:?}: nothing gets on",
                    began.elapsed()
                )
                .into());
            }
        }
    }
    Ok(())
}

/// A history without these would judge nothing of them.
async fn exercised(world: &World) -> Result<()> {
    let sql =
        "SELECT (SELECT count(*) FROM chaos.fence WHERE part > 0), (SELECT count(*) FROM chaos.child_gone),
        (SELECT count(*) FROM public.by_workers_kept), (SELECT count(*) FROM chaos.run WHERE parent_id IS NOT NULL),
        (SELECT count(*) FROM chaos.run WHERE resources <> '[]'), (SELECT count(*) FROM chaos.pruned)";
    let row = world.rows(sql, &[]).await?.pop().ok_or("a row")?;
    let counts: [i64; 6] = std::array::from_fn(|column| row.get(column));
    match counts.contains(&0) {
        true => Err(format!("too thin to judge: batches of workers, children, archived, one-offs, with resources, pruned: {counts:?}").into()),
        false => Ok(()),
    }
}

/// What the suite does to replicas and servers is no job's fault: no attempt of these may be called failed for it, but for
/// a panic, and for a query of its author's that somebody cancelled.
async fn nobody_blamed(world: &World) -> Result<()> {
    let sql = "SELECT job_name, error FROM chaos.run WHERE state IN ('failed', 'timed_out', 'refused')
        AND kind IN ('steps', 'purge', 'fan_out') AND job_name <> 'steps-4' AND error NOT LIKE '%told to by a failpoint%'
        AND NOT (kind = 'fan_out' AND error LIKE '%[57014]%')";
    let blamed: Vec<String> = world
        .rows(sql, &[])
        .await?
        .iter()
        .map(|row| format!("{}: {:?}", row.get::<_, &str>(0), row.get::<_, Option<&str>>(1)))
        .collect();
    match blamed.first() {
        Some(first) => {
            Err(format!("{} runs were blamed for faults, the first: {first}; {blamed:?}", blamed.len())
                .into())
        }
        None => Ok(()),
    }
}

/// Without faults, every job succeeds once more, every wish is granted, and with all jobs paused nothing runs.
async fn come_to_rest(world: &World) -> Result<()> {
    let resume =
        "SELECT sexton.resume_all(); SELECT sexton.resume(name) FROM sexton.job WHERE parent_id IS NULL;
        SELECT sexton.unhold(id) FROM sexton.hold WHERE lifted_at IS NULL;
        SELECT sexton.arm(name) FROM sexton.job WHERE kind = 'purge'";
    world.execute(resume).await?;
    let healed: jiff::Timestamp = world.get("SELECT clock_timestamp()", &[]).await?;
    let alive = "SELECT NOT EXISTS (SELECT FROM sexton.job j WHERE j.parent_id IS NULL AND NOT EXISTS
        (SELECT FROM sexton.run r WHERE coalesce(r.parent_id, r.job_id) = j.id AND r.state = 'succeeded' AND r.started_at > $1))";
    world.until("every job succeeds again", REST_MAX, alive, &[&healed]).await?;
    world.until("what is old is gone", REST_MAX, "SELECT rows = 0 FROM chaos.left_over", &[]).await?;
    let granted = "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE origin = 'run_now' OR rerun IS NOT NULL)";
    world.until("every wish is granted", REST_MAX, granted, &[]).await?;
    let pause = "SELECT sexton.pause(name) FROM sexton.job WHERE parent_id IS NULL AND name <> $1";
    world.rows(pause, &[&ONE_OFFS]).await?;
    let still = "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE state = 'running' OR NOT planned OR parent_id IS NOT NULL)
        AND NOT EXISTS (SELECT FROM sexton.run WHERE state = 'running')";
    world.until("paused, nothing runs", REST_MAX, still, &[]).await
}
