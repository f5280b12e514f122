//! F27 and F28: replicas of different builds, and many at once.

use std::{process::Command, time::Duration};

use serde_json::json;

use super::{LEASE, SOON, all_done, due, judge};
use crate::{
    fleet::Fleet,
    process::{Program, Setup, conninfo},
    replica,
    world::{Result, Server},
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
    let failed: i64 = world.get("SELECT count(*) FROM sexton.run WHERE state = 'failed'", &[]).await?;
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
    world.execute(include_str!("../recorder.sql")).await?;
    world.execute(include_str!("../targets.sql")).await?;
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
