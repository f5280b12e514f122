//! F9 to F12: another server takes the place of the first, with all its commits or without the last of them.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{LEASE, SOON, judge_history, under_way};
use crate::{
    bare::Bare,
    diary,
    fleet::Fleet,
    history::History,
    outside::Outside,
    process::{Setup, conninfo, output},
    world::{Result, Server, World},
};

/// What a failover loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Nothing,
    Commits,
}

/// Jobs run; the primary dies; its standby takes over, and the network leads there.
pub async fn promote(loss: Loss) -> Result<String> {
    let mut server = Server::start(&[("wal_level", "replica"), ("max_wal_senders", "4")]).await?;
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 3, Some(LEASE), 6).await?;
    fleet.ready(&world).await?;
    for index in 0..6 {
        let params = json!({ "steps": 20, "rest_ms": 10, "transaction": index % 2 == 0 });
        world.job(&format!("job-{index}"), "steps", "every 1s", params).await?;
    }
    under_way(&world, 30).await?;
    let before: i64 = world.get("SELECT epoch FROM sexton.meta", &[]).await?;
    let mut standby = Bare::copy(&server.cluster, loss == Loss::Nothing).await?;
    standby.start(&[]).await?;
    if loss == Loss::Nothing {
        refuses_standby(&standby, &world, &fleet).await?;
    }
    let batches: i64 = world.get("SELECT count(*) FROM chaos.fence", &[]).await?;
    under_way(&world, batches + 60).await?;
    // The zombie sees nothing of the failover, and wakes up after it.
    fleet.members[0].process.signal(Signal::SIGSTOP);
    match loss {
        // An orderly stop waits until the standby has everything.
        Loss::Nothing => server.cluster.stop().await,
        Loss::Commits => server.cluster.kill_postmaster().await,
    }
    standby.promote().await?;
    let promoted = Instant::now();
    for member in &fleet.members {
        member.proxy.lead_to(standby.port);
        member.proxy.reset();
    }
    let now = standby.world(world.database()).await?;
    let took = goes_on(&now, before, promoted).await?;
    if took > Duration::from_secs(5) {
        return Err(format!("the first claim came {took:.1?} after the promotion").into());
    }
    fleet.heal()?;
    for member in &fleet.members {
        member.proxy.reset();
    }
    let batches: i64 = now.get("SELECT count(*) FROM chaos.fence", &[]).await?;
    under_way(&now, batches + 60).await?;
    come_to_rest(&now).await?;
    fleet.drain(SOON).await?;
    let mut history = History::read(&now).await?;
    diary::read_into(&mut history, fleet.keeper.diaries())?;
    let known = history.acknowledged.len();
    let lost = lost_acknowledgements(&mut history);
    if loss == Loss::Commits {
        // Claims and outcomes that the logs tell of may be lost as well.
        history.told.clear();
    }
    if (loss == Loss::Nothing) != (lost == 0) {
        return Err(format!("{lost} of {known} acknowledged steps were lost").into());
    }
    let said = judge_history(&history)?;
    Ok(format!(
        "{lost} acknowledged steps lost with the primary, first claim {took:.1?} after the promotion; {said}"
    ))
}

/// With commits lost, what replicas were told before is gone, effect and progress alike; the rest must hold all the same.
fn lost_acknowledgements(history: &mut History) -> usize {
    let there: std::collections::HashSet<_> =
        history.steps.iter().map(|step| (step.run, step.step)).collect();
    let before = history.acknowledged.len();
    history.acknowledged.retain(|step| there.contains(step));
    before - history.acknowledged.len()
}

/// A new claim in a new epoch; how long after the promotion.
async fn goes_on(world: &World, epoch: i64, since: Instant) -> Result<Duration> {
    let claimed = "SELECT EXISTS (SELECT FROM sexton.run WHERE epoch > $1)";
    world.until("a claim in a new epoch", SOON, claimed, &[&epoch]).await?;
    Ok(since.elapsed())
}

/// F12: a replica that is pointed at a standby says so and ends.
async fn refuses_standby(standby: &Bare, world: &World, fleet: &Fleet) -> Result<()> {
    let url = conninfo(&standby.tcp(world.database()), "127.0.0.1", standby.port);
    let mut replica = Setup::new("astray", url).start(&fleet.keeper)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if let Some(status) = replica.ended() {
            let words = replica.last_words();
            let clear = !status.success() && words.contains("standby");
            return if clear {
                Ok(())
            } else {
                Err(format!("on a standby a replica ended by {status}: {words}").into())
            };
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("a replica stays on a standby".into())
}

async fn come_to_rest(world: &World) -> Result<()> {
    world.execute("SELECT sexton.pause(name) FROM sexton.job").await?;
    let still = "SELECT bool_and(state = 'idle' AND planned) FROM sexton.job";
    world.until("paused, nothing runs", SOON, still, &[]).await
}

/// F11: in a restored dump a purge that is armed deletes nothing, and nobody is called, until somebody adopts the database.
pub async fn restored(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let outside = Outside::start(36).await?;
    outside.sink.relent();
    let mut fleet = outside.fleet(&world, 1, LEASE).await?;
    world.job("call", "http", "every 1s", json!({ "endpoint": "sink", "path": "call" })).await?;
    world.execute("SELECT chaos.breed(200)").await?;
    let params = json!({ "table": "public.by_index", "by": "created_at", "retention": "1 hour", "where": "NOT keep", "max_fraction": 1.0 });
    world.job("purge", "purge", "every 1s", params).await?;
    let ran = "SELECT count(DISTINCT job_name) = 2 FROM sexton.run WHERE state = 'succeeded'";
    world.until("both have run", SOON, ran, &[]).await?;
    world.verb("arm", "purge").await?;
    fleet.drain(SOON).await?;

    let second = Server::start(&[]).await?;
    second.cluster.create_database("restored").await?;
    copy_by_dump(server, &world, &second).await?;
    let restored = second.existing("restored").await?;
    restored.execute("SELECT chaos.breed(200)").await?;
    let called = outside.sink.calls().len();
    let mut others = outside.fleet(&restored, 2, LEASE).await?;
    let waits = "SELECT adopt_needed_at IS NOT NULL AND sexton.why('purge') LIKE '%adopt%' FROM sexton.meta";
    restored.until("why says that it waits", SOON, waits, &[]).await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let deleted = "SELECT count(*) FROM chaos.gone";
    let before: i64 = restored.get(deleted, &[]).await?;
    let called = outside.sink.calls().len() - called;
    restored.execute("SELECT sexton.adopt()").await?;
    let purged = "SELECT count(*) > $1 FROM chaos.gone";
    restored.until("after adopt() it deletes", SOON, purged, &[&before]).await?;
    let called_again =
        "SELECT EXISTS (SELECT FROM sexton.run WHERE kind = 'http' AND state = 'succeeded' AND epoch =
        (SELECT epoch FROM sexton.meta))";
    restored.until("after adopt() it calls", SOON, called_again, &[]).await?;
    others.drain(SOON).await?;
    if before > 0 || called > 0 {
        return Err(format!("{before} rows were deleted and {called} calls made before adopt()").into());
    }
    Ok("0 rows deleted and 0 calls made before adopt(), purged after it".into())
}

async fn copy_by_dump(from: &Server, world: &World, to: &Server) -> Result<()> {
    let bin = &from.cluster.binaries().dir;
    let mut dump = Command::new(bin.join("pg_dump"));
    dump.arg(from.cluster.conninfo(world.database()));
    let dumped = output(dump).await?;
    if !dumped.status.success() {
        return Err(format!("pg_dump: {}", String::from_utf8_lossy(&dumped.stderr)).into());
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), dumped.stdout)?;
    let mut restore = Command::new(bin.join("psql"));
    restore
        .args(["-qX", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file.path())
        .arg(to.cluster.conninfo("restored"));
    let restored = output(restore).await?;
    if !restored.status.success() {
        return Err(format!("psql: {}", String::from_utf8_lossy(&restored.stderr)).into());
    }
    Ok(())
}
