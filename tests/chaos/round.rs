//! One round of the campaign: a database, six replicas, a dozen jobs, faults by lot until there were enough attempts.
//!
//! Then everything is healed, the jobs must come to rest by themselves, and the checker reads what happened.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    backups, canary,
    checker::{self, Verdict},
    diary,
    dice::Dice,
    faults::Fault,
    history::History,
    nemesis::{Injected, Nemesis},
    outside::{self, Outside},
    process::{Program, Setup},
    storm::{Storm, Verbs},
    world::{Result, Server, World},
};

/// Replicas of this binary, and processes of `sexton run` beside them.
const REPLICAS: (usize, usize) = (5, 2);
const LEASE: Duration = Duration::from_secs(3);

/// The job whose runs are submitted, by operators and by a fan-out.
pub const ONE_OFFS: &str = "each";

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
    let began = Instant::now();
    let world = server.world().await?;
    let outside = Outside::start(seed).await?;
    let mut jobs = outside::create_jobs(&world).await?;
    jobs.extend(create_jobs(&world).await?);
    let mut fleet = outside.fleet(&world, REPLICAS.0, LEASE).await?;
    for index in 0..REPLICAS.1 {
        let sexton = |setup| outside.known_to(Setup { program: Program::Sexton, ..setup });
        fleet.join(&world, REPLICAS.0 + index, sexton).await?;
    }
    fleet.ready(&world).await?;
    let storm = Storm::start(world.clone(), seed ^ 0x5eed, jobs);
    let mut nemesis = Nemesis::new(server, world.clone(), fleet);
    let struck = strike_until(&mut nemesis, seed, attempts, faults).await;
    let verbs = storm.stop().await?;
    nemesis.relent().await?;
    struck?;
    outside.sink.relent();
    come_to_rest(&world).await?;
    nemesis.fleet.drain(Duration::from_secs(40)).await?;
    canary::look(&world, nemesis.fleet.keeper.diaries(), &nemesis.server.cluster.log_file()).await?;
    exercised(&world).await?;
    nobody_blamed(&world).await?;
    if backups::presented(&outside).await?.is_empty() {
        return Err("no backup was made".into());
    }
    let mut history = History::read(&world).await?;
    diary::read_into(&mut history, nemesis.fleet.keeper.diaries())?;
    outside.read_into(&mut history)?;
    history.excuses = std::mem::take(&mut nemesis.excuses);
    let verdict = checker::check(&history);
    let Nemesis { injected, drains, .. } = nemesis;
    Ok(Round { verdict, injected, verbs, drains, took: began.elapsed() })
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

/// The names, the one that may be deleted last.
async fn create_jobs(world: &World) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for index in 0..10 {
        let name = format!("steps-{index}");
        let params = json!({
            "steps": 3 + index, "rest_ms": index * 3, "transaction": index % 3 == 0,
            "fails_in_100": if index == 4 { 5 } else { 0 },
        });
        let schedule = if index % 4 == 3 { "every 2s" } else { "every 1s" };
        world.job(&name, "steps", schedule, params).await?;
        names.push(name);
    }
    world
        .execute(
            r#"UPDATE sexton.job SET max_attempts = 3 WHERE name = 'steps-4';
               UPDATE sexton.job SET max_lateness = '700 ms' WHERE name = 'steps-8';
               UPDATE sexton.job SET resources = '["well"]' WHERE name IN ('steps-0', 'steps-5');
               UPDATE sexton.job SET resources = '[{"name": "well", "shared": true}]' WHERE name IN ('steps-1', 'steps-2')"#,
        )
        .await?;
    // The last name is the one that is deleted and created anew, which no purge shall be.
    for (target, walk, more) in [
        ("index", "index", json!({})),
        ("heap", "heap", json!({})),
        ("workers", "heap", json!({ "workers": 2, "archive": { "table": "public.by_workers_kept" } })),
        (
            "child",
            "index",
            json!({ "children": [{ "table": "public.items", "archive": { "table": "public.items_kept" } }] }),
        ),
    ] {
        let mut params = json!({
            "table": format!("public.by_{target}"), "by": "created_at", "retention": "1 hour", "where": "NOT keep",
            "walk": walk, "max_fraction": 1.0, "batch": 20, "pacing": "full",
        });
        if let (Some(params), Some(more)) = (params.as_object_mut(), more.as_object()) {
            params.extend(more.clone());
        }
        let name = format!("purge-{target}");
        world.job(&name, "purge", "every 1s", params).await?;
        world.verb("arm", &name).await?;
        names.insert(0, name);
    }
    names.splice(0..0, submitting(world).await?);
    world.execute("SELECT chaos.breed(500), chaos.pair(2000)").await?;
    Ok(names)
}

/// A job that submits runs of another, and one that makes backups.
async fn submitting(world: &World) -> Result<Vec<String>> {
    let inputs = "UPDATE sexton.job SET inputs = '{\"tenant\": \"bigint\"}', max_running = 2 WHERE name = $1";
    world.job(ONE_OFFS, "steps", "manual", json!({ "steps": 3, "rest_ms": 20 })).await?;
    world.rows(inputs, &[&ONE_OFFS]).await?;
    let query = "SELECT i AS tenant FROM generate_series(1, 6) i";
    let params = json!({ "query": query, "key": "tenant", "job": ONE_OFFS, "batch": 2 });
    world.job("spread", "fan_out", "every 2s", params).await?;
    let sets = json!([{ "table": "public.pairs" }, { "table": "public.twins" }]);
    let params = json!({ "storage": "shelf", "sets": sets, "keep": { "last": 3 } });
    world.job("backup", "backup", "every 2s", params).await?;
    Ok([ONE_OFFS, "spread", "backup"].map(str::to_owned).to_vec())
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

/// What the suite does to replicas and servers is no job's fault: no attempt of these may be called failed for it.
async fn nobody_blamed(world: &World) -> Result<()> {
    let sql = "SELECT job_name, error FROM chaos.run WHERE state IN ('failed', 'timed_out', 'refused')
        AND kind IN ('steps', 'purge', 'fan_out') AND job_name <> 'steps-4' AND error NOT LIKE '%told to by a failpoint%'";
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
        (SELECT FROM chaos.run r WHERE coalesce(r.parent_id, r.job_id) = j.id AND r.state = 'succeeded' AND r.started_at > $1))";
    world.until("every job succeeds again", Duration::from_secs(60), alive, &[&healed]).await?;
    world
        .until("what is old is gone", Duration::from_secs(60), "SELECT rows = 0 FROM chaos.left_over", &[])
        .await?;
    let granted = "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE origin = 'run_now' OR rerun IS NOT NULL)";
    world.until("every wish is granted", Duration::from_secs(60), granted, &[]).await?;
    let pause = "SELECT sexton.pause(name) FROM sexton.job WHERE parent_id IS NULL AND name <> $1";
    world.rows(pause, &[&ONE_OFFS]).await?;
    let still = "SELECT NOT EXISTS (SELECT FROM sexton.job WHERE state = 'running' OR NOT planned OR parent_id IS NOT NULL)
        AND NOT EXISTS (SELECT FROM sexton.run WHERE state = 'running')";
    world.until("paused, nothing runs", Duration::from_secs(60), still, &[]).await
}
