//! F17: the clock of the database itself steps. No decision of safety may depend on it.

use std::time::Duration;

use serde_json::json;

use super::{LEASE, SOON, judge_history, lacking, under_way};
use crate::{
    bare::Bare,
    diary,
    fleet::Fleet,
    history::History,
    machine,
    world::{Result, Server},
};

/// An hour forward under load, then an hour back.
pub async fn database_clock() -> Result<String> {
    let Some(library) = machine::libfaketime() else { return lacking("libfaketime is not installed") };
    // A server of its own: the copy is of all its databases.
    let server = Server::start(&[]).await?;
    let world = server.world().await?;
    let mut copy = Bare::copy(&server.cluster, false).await?;
    let folder = tempfile::tempdir()?;
    let clock = folder.path().join("clock");
    let set = |text: &str| std::fs::write(&clock, text);
    set("+0")?;
    open_to_all(folder.path())?;
    let mut variables = machine::fake_clock(&library, "+0");
    variables.retain(|(name, _)| *name != "FAKETIME");
    variables.push(("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy().into_owned()));
    variables.push(("FAKETIME_NO_CACHE", "1".to_owned()));
    copy.start(&variables).await?;
    copy.promote().await?;
    let world = copy.world(world.database()).await?;
    let mut fleet = Fleet::start(&world, 2, Some(LEASE), 6).await?;
    fleet.ready(&world).await?;
    for index in 0..4 {
        world.job(&format!("job-{index}"), "steps", "every 1s", json!({ "steps": 4, "rest_ms": 5 })).await?;
    }
    under_way(&world, 20).await?;
    let true_time: jiff::Timestamp = world.get("SELECT clock_timestamp()", &[]).await?;
    set("+1h")?;
    let late = "SELECT bool_and(scheduled_at > $1::timestamptz + interval '59 min') AND clock_timestamp() > $1 + interval '59 min'
        FROM sexton.job WHERE planned";
    world.until("an hour forward: one run, the rest counted", SOON, late, &[&true_time]).await?;
    let forward: i64 = world.get("SELECT count(*) FROM chaos.run", &[]).await?;
    set("+0")?;
    world
        .until(
            "the clock is back",
            SOON,
            "SELECT clock_timestamp() < $1::timestamptz + interval '10 min'",
            &[&true_time],
        )
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.execute("SELECT sexton.pause(name) FROM sexton.job").await?;
    let still = "SELECT bool_and(state = 'idle' AND planned) FROM sexton.job";
    world.until("paused, nothing runs", SOON, still, &[]).await?;
    fleet.drain(SOON).await?;
    let mut history = History::read(&world).await?;
    diary::read_into(&mut history, fleet.keeper.diaries())?;
    // Commit timestamps are that very clock's; the order of locks is left. And what was due a moment ago need not be now.
    for change in &mut history.changes {
        (change.committed, change.at) = (None, i64::MAX);
    }
    history.fences.iter_mut().for_each(|fence| fence.committed = None);
    let said = judge_history(&history)?;
    Ok(format!("{forward} runs before the step back, no instant twice; {said}"))
}

/// The server reads the file under its own account.
fn open_to_all(folder: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}
