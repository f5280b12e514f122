//! Scenes in which two statements cross: one has read the row and not yet written it when the other comes.
//!
//! What is easy to get wrong: such a moment must be held open, or it would be met once in a thousand times. A claim reads
//! the job's row before it looks at the runs, so a lock on their table holds it there; an end of a run is held open by its
//! own transaction. A verb that is to cross must get to its own row without that table: a PL/pgSQL variable of its row type
//! is enough to lock it.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::{
    claims::submitted,
    ends::{accepted_run_now, due_regularly, finish_regularly},
    whatever,
};
use crate::{
    hand::{Hand, plan},
    world::{Result, World},
};

/// Says something on a session of its own; on return it has ended, or waits for a lock.
async fn crossing(world: &World, sql: &str) -> Result<JoinHandle<std::result::Result<(), Error>>> {
    let session = world.session().await?;
    let pid = backend(&session).await?;
    let text = sql.to_owned();
    let said = tokio::spawn(async move { session.batch_execute(&text).await });
    // For a row, and not for a moment for room in a file.
    let waits = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)
        OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event IN ('transactionid', 'tuple'))";
    world.until("it ends or waits", Duration::from_secs(10), waits, &[&pid]).await?;
    Ok(said)
}

async fn backend(session: &Client) -> Result<i32> {
    Ok(session.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
}

/// A session that no claim gets past, as it stands between its look at the job and its update.
async fn barrier(world: &World) -> Result<Client> {
    let barrier = world.session().await?;
    barrier.batch_execute("BEGIN; LOCK TABLE sexton.run IN ACCESS EXCLUSIVE MODE").await?;
    Ok(barrier)
}

/// Waits until so many claims stand still.
async fn stand_still(world: &World, claims: i64) -> Result<()> {
    let stand = "SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%sexton.claim(%'
        AND datname = current_database()";
    world.until("the claims stand still", Duration::from_secs(10), stand, &[&claims]).await
}

/// Lets an operator speak while a claim stands at the barrier; the claim, if it was won.
async fn at_claim(world: &World, sql: &str, destructive: bool) -> Result<Option<Hand>> {
    let barrier = barrier(world).await?;
    let claimant = world.clone();
    let claim = tokio::spawn(async move {
        if destructive {
            Hand::claim_destructive(&claimant, "scene").await
        } else {
            Hand::claim(&claimant, "scene").await
        }
    });
    stand_still(world, 1).await?;
    let said = crossing(world, sql).await?;
    barrier.batch_execute("ROLLBACK").await?;
    let claimed = claim.await?.ok();
    said.await??;
    Ok(claimed)
}

pub async fn pause_at_claim(world: &World) -> Result<()> {
    if let Some(mut hand) = at_claim(world, "SELECT sexton.pause('scene')", false).await? {
        whatever(hand.batch().await);
    }
    Ok(())
}

pub async fn halt_at_claim(world: &World) -> Result<()> {
    world.verb("arm", "scene").await?;
    // What it does first, without the touch of rows that are running, which the claim's is not yet.
    let halt = "UPDATE sexton.meta SET halted_at = clock_timestamp()";
    if let Some(mut hand) = at_claim(world, halt, true).await? {
        whatever(hand.batch().await);
    }
    Ok(())
}

/// Run now is about to commit when the run before it ends.
pub async fn run_now_at_finish(world: &World) -> Result<()> {
    let mut hand = Hand::claim(world, "scene").await?;
    while hand.done < 3 {
        hand.batch().await?;
    }
    let operator = world.session().await?;
    let wish = accepted_run_now("scene");
    operator.batch_execute(wish.trim_end_matches("; COMMIT")).await?;
    let pid = backend(&hand.client).await?;
    let finish = tokio::spawn(async move { (hand.finish("succeeded", hand.seq).await, hand) });
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock')";
    world.until("the end waits", Duration::from_secs(10), waits, &[&pid]).await?;
    operator.batch_execute("COMMIT").await?;
    let (ended, hand) = finish.await?;
    ended?;
    // Its session's lock is gone only when the server has noticed.
    hand.die(world).await?;
    match Hand::claim(world, "scene").await {
        Ok(mut again) => again.complete(3).await,
        Err(_) => Ok(()),
    }
}

/// A kill comes while the end of the run is not yet committed.
pub async fn kill_at_finish(world: &World) -> Result<()> {
    // Its next occurrence comes in three seconds.
    due_regularly(world, 1).await?;
    let mut hand = Hand::claim(world, "grid").await?;
    hand.batch().await?;
    hand.client.batch_execute("BEGIN").await?;
    finish_regularly(&hand).await?;
    let kill = crossing(world, "SELECT sexton.kill('grid')").await?;
    hand.client.batch_execute("COMMIT").await?;
    whatever(kill.await?);
    hand.die(world).await?;
    if let Ok(mut early) = Hand::claim(world, "grid").await {
        whatever(early.batch().await);
    }
    Ok(())
}

pub async fn halt_at_commit(world: &World) -> Result<()> {
    world.verb("arm", "scene").await?;
    let hand = Hand::claim_destructive(world, "scene").await?;
    hand.client.batch_execute("BEGIN").await?;
    hand.effect(1).await?;
    hand.fence(0, 1).await?;
    let halt = crossing(world, "SELECT sexton.pause_all('scene')").await?;
    hand.client.batch_execute("COMMIT").await?;
    halt.await??;
    hand.die(world).await
}

pub async fn hold_at_commit(world: &World) -> Result<()> {
    world.execute("SELECT chaos.breed(20); DELETE FROM sexton.job").await?;
    let params = serde_json::json!({ "table": "public.by_index", "by": "created_at", "retention": "1 hour" });
    world.job("scene", "purge", "manual", params).await?;
    plan(world, "scene").await?;
    world.verb("arm", "scene").await?;
    world.verb("run_now", "scene").await?;
    let hand = Hand::claim_destructive(world, "scene").await?;
    let doomed: i64 =
        world.get("SELECT min(id) FROM chaos.born WHERE doomed AND target = 'by_index'", &[]).await?;
    hand.client.batch_execute(&format!("BEGIN; DELETE FROM public.by_index WHERE id = {doomed}")).await?;
    hand.fence(0, 1).await?;
    let hold = format!("SELECT sexton.hold('public.by_index', 'id % 10 = {}', 'storm')", doomed % 10);
    let hold = crossing(world, &hold).await?;
    hand.client.batch_execute("COMMIT").await?;
    hold.await??;
    hand.die(world).await
}

pub async fn one_place_at_once(world: &World) -> Result<()> {
    let names = submitted(world, ["a", "b"], 1).await?;
    let barrier = barrier(world).await?;
    let claims = names.map(|name| {
        let world = world.clone();
        tokio::spawn(async move { Hand::claim(&world, &name).await })
    });
    stand_still(world, 2).await?;
    barrier.batch_execute("ROLLBACK").await?;
    for claim in claims {
        if let Ok(mut hand) = claim.await? {
            hand.complete(1).await?;
        }
    }
    Ok(())
}
