//! Scenes about claims: who may begin a run, and with what.

use tokio_postgres::Client;

use super::{Tokens, batches::lose_the_claim, whatever};
use crate::{
    hand::{Hand, Manners, Seen, due_job, plan},
    world::{Result, World},
};

pub async fn claim_while_halted(world: &World) -> Result<()> {
    world.verb("arm", "scene").await?;
    world.execute("SELECT sexton.pause_all('scene')").await?;
    if let Ok(mut hand) = Hand::claim_destructive(world, "scene").await {
        whatever(hand.batch().await);
    }
    Ok(())
}

pub async fn stale_claim(world: &World) -> Result<()> {
    let read = Seen::now(world, "scene").await?;
    let mut first = Hand::claim(world, "scene").await?;
    first.batch().await?;
    first.die(world).await?;
    let stale = Hand::claim_at(world, "scene", read, Manners::Locked, false).await;
    if let Ok(stale) = stale {
        stale.die(world).await?;
    }
    Hand::claim(world, "scene").await?.complete(3).await
}

pub async fn two_claims(world: &World, manners: Manners) -> Result<()> {
    let read = Seen::now(world, "scene").await?;
    let mut first = Hand::claim_at(world, "scene", read, manners, false).await?;
    first.batch().await?;
    let read = Seen::now(world, "scene").await?;
    if let Ok(mut second) = Hand::claim_at(world, "scene", read, manners, false).await {
        whatever(second.batch().await);
    }
    first.complete(3).await
}

pub async fn orphan_scan(world: &World) -> Result<()> {
    let mut holder = Hand::claim(world, "scene").await?;
    holder.batch().await?;
    if world.get("SELECT EXISTS (SELECT FROM sexton.orphan)", &[]).await? {
        let read = Seen::now(world, "scene").await?;
        let mut other = Hand::claim_at(world, "scene", read, Manners::NoLock, false).await?;
        return other.complete(3).await;
    }
    holder.complete(3).await
}

pub async fn crash_again_and_again(world: &World) -> Result<()> {
    world.execute("UPDATE sexton.job SET max_attempts = 2").await?;
    for _ in 0..4 {
        let Ok(hand) = Hand::claim(world, "scene").await else { continue };
        hand.die(world).await?;
    }
    Ok(())
}

pub async fn edit_and_go_on(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.execute("UPDATE sexton.job SET params = '{\"steps\": 2}'").await?;
    whatever(old.batch().await);
    old.finish("superseded", old.seq).await?;
    plan(world, "scene").await?;
    world.execute("SELECT sexton.accept(id, revision) FROM sexton.job").await?;
    old.die(world).await?;
    Hand::claim(world, "scene").await?.complete(2).await
}

pub async fn token_twice(world: &World, tokens: &mut Tokens) -> Result<()> {
    let observe =
        |client: Client| async move { client.execute("SELECT sexton.observe()", &[]).await.map(drop) };
    observe(world.session().await?).await?;
    let old = Hand::claim(world, "scene").await?;
    tokens.push((old.name.clone(), format!("{}.{}", old.epoch, old.version), old.run));
    lose_the_claim(world).await?;
    world.execute("UPDATE sexton.meta SET timeline = timeline - 1").await?;
    observe(world.session().await?).await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    tokens.push((new.name.clone(), format!("{}.{}", new.epoch, new.version), new.run));
    new.complete(3).await
}

pub async fn claim_paused(world: &World) -> Result<()> {
    world.verb("pause", "scene").await?;
    if let Ok(mut hand) = Hand::claim(world, "scene").await {
        whatever(hand.batch().await);
    }
    Ok(())
}

pub async fn claim_early(world: &World) -> Result<()> {
    world.execute("UPDATE sexton.job SET due_at = now() + interval '1 hour'").await?;
    if let Ok(mut hand) = Hand::claim(world, "scene").await {
        whatever(hand.batch().await);
    }
    Ok(())
}

pub async fn claim_after_edit(world: &World) -> Result<()> {
    let read = Seen::now(world, "scene").await?;
    world.execute("UPDATE sexton.job SET params = '{\"steps\": 4}'").await?;
    plan(world, "scene").await?;
    world.execute("SELECT sexton.accept(id, revision) FROM sexton.job").await?;
    if let Ok(mut hand) = Hand::claim_at(world, "scene", read, Manners::Locked, false).await {
        return hand.complete(3).await;
    }
    Hand::claim(world, "scene").await?.complete(4).await
}

pub async fn dry_then_real(world: &World) -> Result<()> {
    let dry = Hand::claim_destructive(world, "scene").await?;
    dry.checkpoint(0, 1).await?;
    dry.die(world).await?;
    world.verb("arm", "scene").await?;
    Hand::claim_destructive(world, "scene").await?.complete(3).await
}

pub async fn worker_stays(world: &World) -> Result<()> {
    let old = Hand::claim(world, "scene").await?;
    let worker = old.join(world).await?;
    worker.batch_execute("BEGIN; SELECT 1").await?;
    old.die(world).await?;
    if let Ok(early) = Hand::claim(world, "scene").await {
        early.die(world).await?;
    }
    let pid: i32 = worker.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    drop(worker);
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
    world.until("the worker ends", std::time::Duration::from_secs(10), gone, &[&pid]).await?;
    Hand::claim(world, "scene").await?.complete(3).await
}

pub async fn one_well(world: &World) -> Result<()> {
    due_job(world, "other", 1).await?;
    world.execute("UPDATE sexton.job SET resources = '[\"well\"]'").await?;
    let mut first = Hand::claim(world, "scene").await?;
    if let Ok(mut second) = Hand::claim(world, "other").await {
        whatever(second.batch().await);
    }
    first.complete(3).await
}

/// A job that lets so many of its one-offs run, and one-offs of these keys; their names.
pub async fn submitted(world: &World, keys: [&str; 2], max_running: i32) -> Result<[String; 2]> {
    world.job("each", "steps", "manual", serde_json::json!({ "steps": 1 })).await?;
    plan(world, "each").await?;
    world.rows("UPDATE sexton.job SET max_running = $1 WHERE name = 'each'", &[&max_running]).await?;
    let mut names = [String::new(), String::new()];
    for (name, key) in names.iter_mut().zip(keys) {
        // One of its own for the second, whether or not the first has the same key.
        world.rows("UPDATE sexton.job SET pending_key = NULL WHERE parent_id IS NOT NULL", &[]).await?;
        world.rows("SELECT sexton.submit('each', key => $1)", &[&key]).await?;
        let newest = "SELECT name FROM sexton.job WHERE parent_id IS NOT NULL ORDER BY id DESC LIMIT 1";
        *name = world.get(newest, &[]).await?;
    }
    Ok(names)
}

/// Both are claimed, one after the other.
pub async fn one_offs(world: &World, keys: [&str; 2], max_running: i32) -> Result<()> {
    let mut held = Vec::new();
    for name in submitted(world, keys, max_running).await? {
        if let Ok(hand) = Hand::claim(world, &name).await {
            held.push(hand);
        }
    }
    for mut hand in held {
        hand.complete(1).await?;
    }
    Ok(())
}

pub async fn prune_begun(world: &World) -> Result<()> {
    world.execute("UPDATE sexton.meta SET keep_runs = 1").await?;
    for _ in 0..3 {
        let mut hand = Hand::claim(world, "scene").await?;
        hand.batch().await?;
        hand.die(world).await?;
        world.execute("SELECT sexton.prune(id) FROM sexton.job").await?;
    }
    Hand::claim(world, "scene").await?.complete(3).await
}
