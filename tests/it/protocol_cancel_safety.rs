//! Futures that are dropped half way, at each of their awaits: nothing is lost, nothing happens twice.
//!
//! A future that was polled N times and then dropped has stopped at its N-th await, whichever that is. So each N from 0
//! on is tried, until one is enough for the future to end by itself.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use sexton::{
    Registry,
    kind::{Batch, Description, Kind, Nature, Report, RunContext, Stop, Stopped},
    testing::Occurrence,
};

use crate::support::Db;

/// Polls a future that many times at the most; `None` if it was dropped then.
async fn polled<F: Future>(times: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// What is dropped half way.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Half {
    Batch,
    Transaction,
    Query,
    Ping,
    Nothing,
    Resource,
}

/// Three steps; in the first attempt, the second is dropped after `polls` polls, and then tried again.
struct Impatient {
    dropped: Arc<AtomicU32>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Params {
    half: Half,
    polls: u32,
}

/// Another text for each step, so that each is prepared anew.
fn effect(step: i32) -> String {
    format!(
        "INSERT INTO public.ledger (job, occurrence, step, version, run_id)
         SELECT $1, $2, $3, (SELECT version FROM sexton.job WHERE name = $1), $4 RETURNING {step}"
    )
}

async fn by_batch(context: &mut RunContext, step: i32) -> Result<(), Stop> {
    let (job, occurrence, run) = (context.job().to_owned(), context.occurrence(), context.run_id());
    while let Batch::Undone(_) =
        context.batch(&effect(step), &[&job, &occurrence, &step, &run], &step).await?
    {}
    Ok(())
}

async fn by_transaction(context: &mut RunContext, step: i32) -> Result<(), Stop> {
    let (job, occurrence, run) = (context.job().to_owned(), context.occurrence(), context.run_id());
    let mut transaction = context.begin().await?;
    let rows = transaction.execute(&effect(step), &[&job, &occurrence, &step, &run]).await?;
    transaction.commit(rows, &step).await
}

/// A step by a batch, with something else before it that leaves no trace.
async fn one_step(context: &mut RunContext, half: Half, step: i32) -> Result<(), Stop> {
    match half {
        Half::Transaction => return by_transaction(context, step).await,
        Half::Batch | Half::Nothing => {}
        Half::Query => drop(context.query("SELECT 1", &[]).await?),
        Half::Ping => context.ping().await?,
        Half::Resource => {
            let patience = std::time::Duration::from_secs(10);
            return context
                .with_resource(&format!("of {}", context.job().to_owned()), patience, async |context| {
                    by_batch(context, step).await
                })
                .await;
        }
    }
    by_batch(context, step).await
}

impl Kind for Impatient {
    type Params = Params;

    fn name(&self) -> &'static str {
        "impatient"
    }

    fn describe(&self) -> Description {
        Description { summary: "Drops what it began.", nature: Nature::Database, params: &[], example: "" }
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let mut patient = context.attempt() > 1 || params.half == Half::Nothing;
        loop {
            // Each time: what was dropped may have got as far as its commit.
            let step = context.cursor::<i32>()?.unwrap_or(0) + 1;
            if step > 3 {
                break;
            } else if patient || step < 2 {
                one_step(context, params.half, step).await?;
            } else if let Some(ended) = polled(params.polls, one_step(context, params.half, step)).await {
                ended?;
            } else {
                // It goes on as one would who does not know better, and is refused unless nothing had begun.
                self.dropped.fetch_add(1, Ordering::Relaxed);
                patient = true;
            }
        }
        Ok(Report::new(Stopped::Drained))
    }
}

/// A number of polls that is enough for anything here; reaching it would mean that nothing ever ends by itself.
const POLLS_MAX: u32 = 1000;

fn impatient() -> (Registry, Arc<AtomicU32>) {
    let dropped = Arc::new(AtomicU32::new(0));
    let mut registry = Registry::new();
    registry.add(Impatient { dropped: Arc::clone(&dropped) });
    (registry, dropped)
}

/// Every occurrence that was begun has succeeded, with each of its steps once.
async fn assert_complete(db: &Db) {
    db.assert_exact().await;
    let incomplete = "SELECT coalesce(string_agg(o::text, ' '), '') FROM (
        SELECT job_name, occurrence, string_agg(state, ' ' ORDER BY version) AS states,
               (SELECT string_agg(step::text, ' ' ORDER BY id) FROM public.ledger l
                 WHERE l.job = r.job_name AND l.occurrence = r.occurrence) AS steps
          FROM sexton.run r GROUP BY job_name, occurrence) o
        WHERE steps IS DISTINCT FROM '1 2 3' OR states !~ '^(lost )*succeeded$'";
    assert_eq!(db.get::<String>(incomplete, &[]).await, "");
}

async fn drop_within_the_run(half: Half) {
    let db = Db::new().await;
    let (registry, dropped) = impatient();
    for polls in 0..POLLS_MAX {
        let job = format!("job-{polls}");
        db.insert(&job, "impatient", "manual", serde_json::to_value(Params { half, polls }).unwrap()).await;
        let occurrence = Occurrence::of(&job, db.config.clone()).registry(registry.clone());
        let before = dropped.load(Ordering::Relaxed);
        let first = occurrence.clone().run().await.unwrap();
        if first.state != "succeeded" {
            assert_eq!(first.state, "running", "{half:?} {polls}: lost, and not failed: {:?}", first.error);
            let second = occurrence.run().await.unwrap();
            assert_eq!((second.state.as_str(), second.attempt), ("succeeded", 2), "{half:?} {polls}");
        }
        if dropped.load(Ordering::Relaxed) == before {
            assert!(polls > 2, "{half:?}: there were awaits to be dropped at");
            assert_complete(&db).await;
            return;
        }
    }
    panic!("{half:?} never ended by itself");
}

#[tokio::test]
async fn a_batch_that_is_dropped_half_way_is_there_or_is_not() {
    drop_within_the_run(Half::Batch).await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_is_there_or_is_not() {
    drop_within_the_run(Half::Transaction).await;
}

#[tokio::test]
async fn a_query_a_ping_or_a_resource_that_is_dropped_half_way_costs_the_run_at_most() {
    for half in [Half::Query, Half::Ping, Half::Resource] {
        drop_within_the_run(half).await;
    }
}

/// The whole of it: connecting, claiming, three batches, the end. Whoever comes next makes it good.
#[tokio::test]
async fn a_run_that_is_dropped_at_any_await_is_made_good_by_the_next() {
    const AT_A_TIME: u32 = 8;
    let db = Db::new().await;
    let (registry, _) = impatient();
    let params = serde_json::to_value(Params { half: Half::Nothing, polls: 0 }).unwrap();
    for first in (0..POLLS_MAX).step_by(AT_A_TIME as usize) {
        let tries = (first..first + AT_A_TIME).map(async |polls| {
            let job = format!("job-{polls}");
            db.insert(&job, "impatient", "manual", params.clone()).await;
            let occurrence = Occurrence::of(&job, db.config.clone()).registry(registry.clone());
            let ended = polled(polls, occurrence.clone().run()).await;
            let next = occurrence.run().await.unwrap();
            assert_eq!(next.state, "succeeded", "{polls}: {:?}", next.error);
            ended.is_some()
        });
        // Each is polled when it is woken, and not whenever another is.
        let ended: Vec<bool> = tries.collect::<FuturesUnordered<_>>().collect().await;
        if ended.into_iter().all(|ended| ended) {
            assert!(first > 16, "there were awaits to be dropped at");
            assert_complete(&db).await;
            return;
        }
    }
    panic!("a run never ended by itself");
}
