//! Scenes about batches: what a fence lets through, and what a transaction holds together.

use std::time::Duration;

use super::whatever;
use crate::{
    hand::Hand,
    world::{Result, World},
};

pub async fn zombie_batch(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.verb("kill", "scene").await?;
    whatever(old.batch().await);
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(3).await
}

pub async fn verb_at_commit(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    old.client.batch_execute("BEGIN").await?;
    old.effect(2).await?;
    old.fence(1, 2).await?;
    let operator = world.session().await?;
    let pid: i32 = operator.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let kill = tokio::spawn(async move { operator.execute("SELECT sexton.kill('scene')", &[]).await });
    let waits =
        "SELECT $2 OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')
        OR EXISTS (SELECT FROM sexton.run WHERE state = 'lost')";
    world
        .until("the kill returns or waits", Duration::from_secs(10), waits, &[&pid, &kill.is_finished()])
        .await?;
    old.client.batch_execute("COMMIT").await?;
    kill.await??;
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(3).await
}

/// Puts the job back to where it was before its last claim, as a failover that lost the claim would.
pub async fn lose_the_claim(world: &World) -> Result<()> {
    world
        .execute(
            "SET session_replication_role = replica;
             DELETE FROM sexton.run_part; DELETE FROM sexton.run WHERE state = 'running';
             UPDATE sexton.job SET state = 'idle', version = version - 1, attempt = attempt - 1, run_id = NULL,
                 replica_id = NULL, holder = NULL, holder_pid = NULL;
             TRUNCATE chaos.trail; RESET session_replication_role;",
        )
        .await
}

pub async fn version_twice(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    lose_the_claim(world).await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    whatever(old.batch().await);
    new.complete(3).await
}

pub async fn batch_twice(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    let sent = (hand.done, hand.seq);
    (hand.done, hand.seq) = (0, 0);
    whatever(hand.batch().await);
    (hand.done, hand.seq) = sent;
    hand.complete(3).await
}

pub async fn verb_then_batch(world: &World, verb: &str) -> Result<()> {
    let destructive = matches!(verb, "disarm" | "pause_all");
    let mut hand = if destructive {
        world.verb("arm", "scene").await?;
        Hand::claim_destructive(world, "scene").await?
    } else {
        Hand::claim(world, "scene").await?
    };
    hand.batch().await?;
    match verb {
        "edit" => world.execute("UPDATE sexton.job SET params = '{\"steps\": 4}'").await?,
        "pause_all" => world.execute("SELECT sexton.pause_all('scene')").await?,
        _ => world.verb(verb, "scene").await.map(drop)?,
    }
    whatever(hand.batch().await);
    Ok(())
}

pub async fn batches_in_transactions(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.client.batch_execute("BEGIN").await?;
        hand.effect(step).await?;
        hand.fence(i64::from(step) - 1, step).await?;
        hand.client.batch_execute("COMMIT").await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

pub async fn fence_apart(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.effect(step).await?;
        hand.fence(i64::from(step) - 1, step).await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

pub async fn cursor_apart(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.fence(i64::from(step) - 1, step).await?;
        hand.effect(step).await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}

pub async fn no_fence(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.effect(step).await?;
    }
    Ok(hand.finish("succeeded", 0).await?)
}

/// The second batch fails within its transaction; COMMIT answers ROLLBACK, and the client takes that for success.
pub async fn commit_trusted(world: &World) -> Result<()> {
    let hand = Hand::claim(world, "scene").await?;
    for step in 1..=3 {
        hand.client.batch_execute("BEGIN").await?;
        hand.effect(step).await?;
        if step == 2 {
            whatever(hand.client.execute("SELECT 1 / 0", &[]).await);
        }
        whatever(hand.fence(i64::from(step) - 1, step).await);
        hand.client.batch_execute("COMMIT").await?;
    }
    Ok(hand.finish("succeeded", 3).await?)
}
