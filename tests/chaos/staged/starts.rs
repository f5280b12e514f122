//! F27 and F28: replicas of different builds, and many at once.

use std::{process::Command, time::Duration};

use serde_json::json;

use super::{LEASE, SOON, all_done, due, judge};
use crate::{
    fleet::Fleet,
    process::{Program, Setup, conninfo},
    replica,
    world::{RECORDER, Result, Server, World},
};

/// Replicas that do not know a kind run beside some that do; a table changes its shape under them meanwhile.
pub async fn old_replica(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::new()?;
    for index in 0..2 {
        fleet.join(&world, index, |setup| setup.variable(replica::OLD, "1")).await?;
    }
    fleet.ready(&world).await?;
    due(&world, 4, 60).await?;
    world.job("unplanned", "steps", "every 1s", json!({ "steps": 2 })).await?;
    // Nobody knows the kind: it must stay as it is, neither claimed nor called invalid.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let alone = "SELECT NOT EXISTS (SELECT FROM sexton.run)
        AND NOT EXISTS (SELECT FROM sexton.job WHERE invalid_reason IS NOT NULL OR (name = 'unplanned' AND planned))";
    if !world.get::<bool>(alone, &[]).await? {
        return Err("a replica touched a kind that it does not know".into());
    }
    fleet.join(&world, 2, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    fleet.join(&world, 3, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    super::under_way(&world, 20).await?;
    world
        .execute("ALTER TABLE chaos.ledger ADD COLUMN note text; ALTER TABLE sexton.job ADD COLUMN later int")
        .await?;
    all_done(&world, SOON).await?;
    world.execute("SELECT sexton.pause(name) FROM sexton.job").await?;
    let still = "SELECT bool_and(state = 'idle' AND planned) FROM sexton.job";
    world.until("it is still", SOON, still, &[]).await?;
    let failed: i64 = world.get("SELECT count(*) FROM chaos.run WHERE state = 'failed'", &[]).await?;
    if failed > 0 {
        return Err(format!("{failed} runs failed when a table changed").into());
    }
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet)).await.map(|said| format!("two kinds of replicas, not two builds; {said}"))
}

/// Twenty migrations of one empty database at once, then twenty replicas.
pub async fn twenty_at_once(server: &Server) -> Result<String> {
    let name = format!("empty_{}", std::process::id());
    server.cluster.create_database(&name).await?;
    let world = server.existing(&name).await?;
    let port = *world.tcp.get_ports().first().ok_or("a port")?;
    let url = conninfo(&world.tcp, "127.0.0.1", port);
    let mut fleet = Fleet::new()?;
    let mut migrations = Vec::new();
    for index in 0..20 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command.arg("migrate").env("DATABASE_URL", &url);
        migrations.push(fleet.keeper.spawn(command, &format!("migrate-{index}"))?);
    }
    for mut migration in migrations {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let status = loop {
            match migration.ended() {
                Some(status) => break status,
                None if std::time::Instant::now() > deadline => return Err("a migration does not end".into()),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        if !status.success() {
            return Err(format!("{} ended by {status}: {}", migration.name, migration.last_words()).into());
        }
    }
    for (_, text) in RECORDER {
        world.execute(text).await?;
    }
    for index in 0..20 {
        let program = if index % 2 == 0 { Program::Sexton } else { Program::Embedded };
        fleet.join(&world, index, |setup| Setup { program, slots: 1, ..setup }).await?;
    }
    fleet.ready(&world).await?;
    due(&world, 10, 10).await?;
    all_done(&world, SOON).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet)).await.map(|said| format!("20 migrations, 20 replicas, 0 errors; {said}"))
}

/// One build against the schema as an older and a newer one would have it.
pub async fn other_schemas(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::new()?;
    let level: i32 = world.get("SELECT max(version) FROM sexton.schema_history", &[]).await?;
    let history = "CREATE TEMP TABLE kept AS SELECT * FROM sexton.schema_history WHERE version = (SELECT max(version) FROM sexton.schema_history)";
    world
        .execute(&format!(
            "{history}; DELETE FROM sexton.schema_history h USING kept k WHERE h.version = k.version"
        ))
        .await?;
    refuses(&world, &mut fleet, &format!("the schema is at level {}", level - 1)).await?;
    world.execute("INSERT INTO sexton.schema_history SELECT * FROM kept").await?;
    for index in 0..2 {
        fleet.join(&world, index, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    }
    fleet.ready(&world).await?;
    due(&world, 4, 60).await?;
    super::under_way(&world, 20).await?;
    // What a newer schema adds while older replicas work.
    world
        .execute(&format!(
            "BEGIN; INSERT INTO sexton.schema_history (version, name) VALUES ({}, 'later');
             ALTER TABLE sexton.job ADD COLUMN later int DEFAULT 1; ALTER TABLE sexton.run ADD COLUMN later text;
             ALTER TABLE sexton.meta ADD COLUMN later int; ALTER TABLE sexton.run_part ADD COLUMN later int;
             CREATE FUNCTION sexton.later() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMIT",
            level + 1
        ))
        .await?;
    fleet.join(&world, 2, |setup| Setup { lease: Some(LEASE), ..setup }).await?;
    fleet.ready(&world).await?;
    all_done(&world, SOON).await?;
    nobody_failed(&world).await?;
    world.execute(&format!("UPDATE sexton.meta SET min_level = {}", level + 1)).await?;
    refuses(&world, &mut fleet, "asks for a program of level").await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("refused: older schema, newer demand; worked on with newer schema; {said}"))
}

async fn nobody_failed(world: &World) -> Result<()> {
    let failed: i64 =
        world.get("SELECT count(*) FROM chaos.run WHERE state IN ('failed', 'refused')", &[]).await?;
    if failed > 0 {
        return Err(format!("{failed} runs failed").into());
    }
    Ok(())
}

/// A replica that starts now ends by itself, says why, and has registered nowhere.
async fn refuses(world: &World, fleet: &mut Fleet, why: &str) -> Result<()> {
    let count = "SELECT count(*) FROM sexton.replica";
    let before: i64 = world.get(count, &[]).await?;
    let port = *world.tcp.get_ports().first().ok_or("a port")?;
    let setup =
        Setup { program: Program::Sexton, ..Setup::new("refused", conninfo(&world.tcp, "127.0.0.1", port)) };
    let mut replica = setup.start(&fleet.keeper)?;
    let deadline = std::time::Instant::now() + SOON;
    while replica.ended().is_none() {
        if std::time::Instant::now() > deadline {
            return Err(format!("a replica goes on though {why}: {}", replica.last_words()).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let words = replica.last_words();
    if !words.contains(why) || world.get::<i64>(count, &[]).await? != before {
        return Err(format!("it ended, but not since {why}: {words}").into());
    }
    Ok(())
}

/// Where the other build of `sexton` is; `scripts/chaos --other REVISION` makes one.
const OTHER: &str = "CHAOS_OTHER_SEXTON";

/// Replicas of two builds beside each other, each replaced by one of the other build, over and over, while jobs run.
pub async fn two_builds(server: &Server) -> Result<String> {
    let Ok(other) = std::env::var(OTHER) else {
        return super::lacking("no other build is given: scripts/chaos --other REVISION makes one");
    };
    let world = server.world().await?;
    for (target, walk) in [("index", "index"), ("heap", "heap")] {
        let name = format!("purge-{target}");
        let params = json!({ "table": format!("public.by_{target}"), "by": "created_at", "retention": "1 hour",
            "where": "NOT keep", "walk": walk, "max_fraction": 1.0, "batch": 20, "pacing": "full" });
        world.job(&name, "purge", "every 1s", params).await?;
        world.verb("arm", &name).await?;
    }
    world.execute("SELECT chaos.breed(2000)").await?;
    let mut fleet = Fleet::new()?;
    let builds = [env!("CARGO_BIN_EXE_sexton"), other.as_str()];
    for index in 0..4 {
        let sexton =
            |setup| Setup { program: Program::Sexton, ..setup }.variable(super::BUILD, builds[index % 2]);
        fleet.join(&world, index, sexton).await?;
    }
    fleet.ready(&world).await?;
    for turn in 0..24 {
        let count: i64 = world.get("SELECT count(*) FROM chaos.run", &[]).await?;
        let member = &mut fleet.members[turn % 4];
        member.process.drain(SOON).await?;
        member.setup = member.setup.clone().variable(super::BUILD, builds[(turn / 4 + turn + 1) % 2]);
        member.restart(&fleet.keeper, &[])?;
        world.execute("SELECT chaos.breed(300)").await?;
        world.until("runs go on", SOON, "SELECT count(*) > $1 FROM chaos.run", &[&count]).await?;
    }
    world
        .until(
            "what is old is gone",
            SOON,
            "SELECT NOT EXISTS (SELECT FROM chaos.there WHERE target IN ('by_index', 'by_heap')
        AND created_at < now() - interval '2 hours' AND NOT keep)",
            &[],
        )
        .await?;
    nobody_failed(&world).await?;
    world.execute("SELECT sexton.pause(name) FROM sexton.job").await?;
    world.until("it is still", SOON, "SELECT bool_and(state = 'idle') FROM sexton.job", &[]).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet)).await.map(|said| format!("24 replacements between two builds; {said}"))
}
