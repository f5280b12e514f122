//! F2 and F4: replicas that end at chosen points of the protocol.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use sexton::failpoint;

use super::{LEASE, SOON, all_done, judge};
use crate::{
    fleet::Fleet,
    process::Setup,
    takeover::quantile,
    world::{Result, Server, World},
};

/// Each name times each action: the first replica comes to the point, another one completes the job.
pub async fn every_point(server: &Server) -> Result<String> {
    let mut count = 0;
    // Its jobs work in one database: those of others are reached in `tests/it/databases.rs`.
    let here = |name: &&str| !name.starts_with("elsewhere.");
    let names: Vec<&str> = failpoint::NAMES.iter().copied().filter(here).collect();
    for names in names.chunks(2) {
        let mut plays = Vec::new();
        for name in names {
            for action in ["exit", "abort", "panic", "stop"] {
                plays.push(one_point(server.world().await?, name, action));
            }
        }
        count += plays.len();
        for play in futures_util::future::join_all(plays).await {
            play?;
        }
    }
    Ok(format!("{count} points, 0 violations"))
}

async fn one_point(world: World, name: &'static str, action: &str) -> Result<()> {
    let told = |error| format!("{name}={action}: {error}");
    let mut fleet = Fleet::new()?;
    let wish = format!("{name}={action}");
    fleet
        .join(&world, 0, |setup| {
            Setup { lease: Some(LEASE), ..setup }.variable("SEXTON_FAILPOINTS", wish.clone())
        })
        .await?;
    fleet.ready(&world).await.map_err(told)?;
    let transaction = name == "batch.fence";
    world.job("job", "steps", "manual", json!({ "steps": 3, "transaction": transaction })).await?;
    world.until("it is planned", SOON, "SELECT planned FROM sexton.job", &[]).await.map_err(told)?;
    world.verb("run_now", "job").await?;
    reached(&mut fleet, action).await.map_err(told)?;
    fleet.join(&world, 1, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    // The job may be done already; a process that is told to end before it listens to signals just dies.
    let up = "SELECT EXISTS (SELECT FROM sexton.replicas WHERE alive AND name = 'r1')";
    world.until("the second replica is up", SOON, up, &[]).await.map_err(told)?;
    all_done(&world, SOON).await.map_err(told)?;
    fleet.drain(SOON).await.map_err(told)?;
    judge(&world, Some(&fleet)).await.map(drop).map_err(|error| told(error).into())
}

/// Waits until the first replica has come to its point.
pub async fn reached(fleet: &mut Fleet, action: &str) -> Result<()> {
    let process = &mut fleet.members[0].process;
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        let there = match action {
            "exit" | "abort" => process.ended().is_some(),
            "panic" => std::fs::read_to_string(&process.log)?.contains("told to by a failpoint"),
            _ => is_stopped(process.pid()),
        };
        if there {
            // A replica that stopped itself is to be woken like one that we froze.
            process.frozen = action == "stop";
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("the point was not reached".into())
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// A job that takes its replica with it is tried three times and no more.
pub async fn poison(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 2, Some(LEASE), 2).await?;
    world.job("poison", "steps", "manual", json!({ "steps": 1, "poison": "abort" })).await?;
    world.execute("UPDATE sexton.job SET max_attempts = 3").await?;
    world.until("it is planned", SOON, "SELECT planned FROM sexton.job", &[]).await?;
    world.verb("run_now", "poison").await?;
    let given_up = "SELECT state = 'idle' AND failure_count = 1 FROM sexton.job";
    let deadline = Instant::now() + SOON;
    let mut deaths = 0;
    while !world.get::<bool>(given_up, &[]).await? {
        if Instant::now() > deadline {
            return Err(format!("after {deaths} deaths it is still tried").into());
        }
        deaths += fleet.revive()?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let runs: i64 = world.get("SELECT count(*) FROM chaos.run WHERE state = 'lost'", &[]).await?;
    if runs != 3 {
        return Err(format!("{runs} attempts instead of 3").into());
    }
    fleet.drain(SOON).await?;
    crate::checker::check(&crate::history::History::read(&world).await?)
        .violations
        .first()
        .map_or(Ok(format!("given up after 3 attempts, {deaths} replicas lost")), |violation| {
            Err(violation.to_string().into())
        })
}

/// The COMMIT of a batch of several statements never arrives: operators wait, but no longer than the lease.
pub async fn held_commit(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 1, Some(LEASE), 2).await?;
    fleet.members[0].proxy.hold_commit();
    world.job("job", "steps", "manual", json!({ "steps": 5, "transaction": true })).await?;
    world.until("it is planned", SOON, "SELECT planned FROM sexton.job", &[]).await?;
    world.verb("run_now", "job").await?;
    let deadline = Instant::now() + SOON;
    while !fleet.members[0].proxy.holds_commit() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let open = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE '%fence%'
        AND datname = current_database())";
    world.until("a fence waits for its COMMIT", SOON, open, &[]).await?;
    fleet.join(&world, 1, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    let began = Instant::now();
    world.verb("kill", "job").await?;
    let took = began.elapsed();
    if took > LEASE + Duration::from_secs(1) {
        return Err(format!("kill() took {took:.1?}").into());
    }
    // Its COMMITs are held for good, and it may well be the first to claim the job again: it would never get on.
    fleet.members[0].process.kill();
    all_done(&world, SOON).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("kill() waited {took:.1?} of a lease of {LEASE:.1?}; {said}"))
}

/// A holder is frozen at whatever point of a batch of one statement: no verb waits for it.
pub async fn frozen_anywhere(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 1, Some(LEASE), 2).await?;
    fleet.ready(&world).await?;
    world.job("job", "steps", "manual", json!({ "steps": 1_000_000 })).await?;
    world.until("it is planned", SOON, "SELECT planned FROM sexton.job", &[]).await?;
    world.verb("run_now", "job").await?;
    let mut times = Vec::new();
    for trial in 1..=12 {
        let gets_on = "SELECT count(*) >= $1 * 20 FROM chaos.fence";
        world.until("it gets on", SOON, gets_on, &[&trial]).await?;
        fleet.members[0].process.signal(Signal::SIGSTOP);
        let began = Instant::now();
        world.verb("pause", "job").await?;
        times.push(began.elapsed());
        world.verb("resume", "job").await?;
        fleet.members[0].process.signal(Signal::SIGCONT);
    }
    let [p50, most] = [0.5, 1.0].map(|share| quantile(&times, share));
    if most > LEASE / 2 {
        return Err(format!("pause() took {most:.1?} of a lease of {LEASE:.1?}").into());
    }
    world.verb("cancel", "job").await?;
    world.until("it is cancelled", SOON, "SELECT state = 'idle' FROM sexton.job", &[]).await?;
    fleet.drain(SOON).await?;
    let said = judge(&world, Some(&fleet)).await?;
    Ok(format!("pause() took p50 {p50:.1?}, max {most:.1?} in {} freezes; {said}", times.len()))
}

/// Replicas that look at the table every second, as one does while something runs elsewhere, get no answer any more: one
/// is told to end, and ends; one comes back by itself once the way is free for new connections.
pub async fn silent_server(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 1, None, 2).await?;
    world.job("long", "steps", "manual", json!({ "steps": 1_000_000, "rest_ms": 20 })).await?;
    world.until("it is planned", SOON, "SELECT planned FROM sexton.job", &[]).await?;
    world.verb("run_now", "long").await?;
    world.until("it runs", SOON, "SELECT state = 'running' FROM sexton.job", &[]).await?;
    fleet.join(&world, 1, |setup| setup).await?;
    fleet.join(&world, 2, |setup| setup).await?;
    fleet.ready(&world).await?;
    for member in &fleet.members[1..] {
        member.proxy.silence();
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let (_, ended) = fleet.members[1].process.drain(Duration::from_secs(10)).await?;
    let began = Instant::now();
    let log = fleet.members[2].process.log.clone();
    while !std::fs::read_to_string(&log)?.contains("session.lost") {
        if began.elapsed() > SOON {
            return Err("a replica waits for an answer that never comes".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let noticed = began.elapsed();
    world.verb("cancel", "long").await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("SIGTERM took {ended:.1?}, noticed after {noticed:.1?}; {said}"))
}
