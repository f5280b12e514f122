//! Scenes about the ends of runs: what is recorded, and what comes next.

use super::whatever;
use crate::{
    hand::Hand,
    world::{Result, World},
};

pub async fn zombie_finish(world: &World) -> Result<()> {
    let mut old = Hand::claim(world, "scene").await?;
    old.batch().await?;
    world.verb("kill", "scene").await?;
    old.client.execute("SELECT pg_advisory_unlock_all()", &[]).await?;
    let mut new = Hand::claim(world, "scene").await?;
    whatever(old.finish("succeeded", old.seq).await);
    new.complete(3).await
}

pub async fn finish_early(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    whatever(hand.finish("succeeded", 3).await);
    hand.complete(3).await
}

pub async fn kill_and_go_on(world: &World) -> Result<()> {
    due_regularly(world, 5).await?;
    let mut old = Hand::claim(world, "grid").await?;
    old.batch().await?;
    world.verb("kill", "grid").await?;
    old.die(world).await?;
    let mut new = Hand::claim(world, "grid").await?;
    new.batch().await?;
    finish_regularly(&new).await
}

pub async fn run_now_while_running(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    world.execute(&accepted_run_now("scene")).await?;
    hand.complete(3).await?;
    hand.die(world).await?;
    match Hand::claim(world, "scene").await {
        Ok(mut again) => again.complete(3).await,
        Err(_) => Ok(()),
    }
}

/// Asks for a run and notes that it was accepted, or neither.
pub fn accepted_run_now(job: &str) -> String {
    format!(
        "BEGIN; SELECT sexton.run_now('{job}');
         INSERT INTO chaos.accepted (job_id, verb) SELECT id, 'run_now' FROM sexton.job WHERE name = '{job}'; COMMIT"
    )
}

/// Three instants pass while a run of an `every 1s` is at work; its holder reports them.
pub async fn coalesce(world: &World) -> Result<()> {
    due_regularly(world, 5).await?;
    let mut hand = Hand::claim(world, "grid").await?;
    hand.batch().await?;
    finish_regularly(&hand).await
}

/// A job `every 1s` that was due so many seconds ago.
pub async fn due_regularly(world: &World, seconds: u8) -> Result<()> {
    world.job("grid", "steps", "every 1s", serde_json::json!({ "steps": 1 })).await?;
    world
        .execute(&format!(
            "SELECT sexton.plan(id, revision, schedule, time_zone, date_trunc('second', now()) - interval '{seconds} s', NULL, 0)
               FROM sexton.job WHERE name = 'grid'"
        ))
        .await
}

/// Ends its run, three instants having passed since.
pub async fn finish_regularly(hand: &Hand) -> Result<()> {
    let sql = "SELECT sexton.finish(id, version, run_id, 'succeeded', NULL, '{}', $1, '0', schedule, time_zone,
                 scheduled_at + interval '4 s', scheduled_at + interval '4 s', 3, NULL) FROM sexton.job WHERE name = 'grid'";
    hand.client.execute(sql, &[&hand.seq]).await?;
    Ok(())
}

pub async fn too_late_for_the_rest(world: &World) -> Result<()> {
    due_regularly(world, 5).await?;
    world.execute("UPDATE sexton.job SET max_lateness = '1 s' WHERE name = 'grid'").await?;
    let mut old = Hand::claim(world, "grid").await?;
    old.batch().await?;
    world.verb("kill", "grid").await?;
    old.die(world).await?;
    let skip = "SELECT sexton.skip(id, version, schedule, time_zone, scheduled_at + interval '5 s', NULL, 5)
        FROM sexton.job WHERE name = 'grid'";
    if world.get(skip, &[]).await? {
        return Ok(());
    }
    finish_regularly(&Hand::claim(world, "grid").await?).await
}

/// A run that is to be cancelled is given back by its holder.
pub async fn cancel_and_release(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    world.verb("cancel", "scene").await?;
    hand.finish("released", hand.seq).await?;
    hand.die(world).await?;
    if let Ok(mut again) = Hand::claim(world, "scene").await {
        whatever(again.batch().await);
    }
    Ok(())
}

/// A run that is to be cancelled loses its session first.
pub async fn cancel_and_die(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    hand.batch().await?;
    world.verb("cancel", "scene").await?;
    hand.die(world).await?;
    if let Ok(mut again) = Hand::claim(world, "scene").await {
        whatever(again.batch().await);
    }
    Ok(())
}
