//! Several sessions at work for one run: parts of the work, and workers who take them up.
//!
//! A kind splits its work once for an occurrence, into parts that do not touch one another, each with a cursor of its
//! own. Workers take the parts in their order; how many workers there are is each attempt's own business, so another
//! replica goes on with the same parts and perhaps another number of workers. What is easy to get wrong: the run's own
//! session holds the job, and must be kept alive while its workers work; and whatever ends one of them ends all.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Databases, Options, RunContext, Stop, context::to_json};
use crate::{
    error::{Error, ErrorKind},
    protocol::{
        connect::Connector,
        held::Held,
        schedule::Schedule,
        worker::{Crew, Part},
    },
};

/// How often the run's own session is asked whether the run must stop. Oftener than the lease needs: until it is found to
/// be gone, its workers keep others from taking over.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long the other workers may take to come to a batch border once one of them, or the run, has to stop. What they
/// still do then is cancelled.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What is to be done for each part: a trait and no closure, since what it borrows must live in several futures at once.
pub trait PartWork: Sync {
    /// What came of a part.
    type Done: Send;

    /// Sets a worker's session up, once, before its first part. Nothing, unless told otherwise.
    ///
    /// # Errors
    /// As [`Kind::run`](super::Kind::run); they end the whole run.
    ///
    /// # Cancel safety
    /// As [`PartWork::work`].
    fn prepare(&self, _context: &mut RunContext) -> impl Future<Output = Result<(), Stop>> + Send {
        std::future::ready(Ok(()))
    }

    /// Works on one part, in batches, from its cursor on. `context` is the part's: see [`RunContext::in_parts`].
    ///
    /// # Errors
    /// As [`Kind::run`](super::Kind::run); they end the whole run.
    ///
    /// # Cancel safety
    /// The future is dropped when the run ends before it does. Nothing that was not committed by then takes effect.
    fn work(&self, context: &mut RunContext) -> impl Future<Output = Result<Self::Done, Stop>> + Send;
}

/// What workers did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worked<T> {
    /// What came of each part, in their order.
    pub parts: Vec<T>,
    /// Sessions that worked: as many as were asked for, if so many were to be had and there were as many parts.
    pub workers: u16,
}

impl RunContext {
    /// How many parts the work of this occurrence was split into, by whichever attempt; 0 if it was not.
    pub fn parts(&self) -> usize {
        self.held.parts().len()
    }

    /// The part, counted from 1, that this context is for; `None` for the run's own.
    pub fn part(&self) -> Option<u32> {
        self.held.is_worker().then(|| self.held.part().unsigned_abs())
    }

    /// Splits the work of this occurrence into parts, 1 to 1000 of them, each to begin at its own cursor. They are stored
    /// at once; a later attempt of the occurrence finds them where their last batches left off ([`RunContext::parts`] is
    /// not 0 then), and must not split again. The parts must be disjoint: nothing orders the batches of one before those
    /// of another.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job; [`Stop::Failed`] if it is split already, and in a worker.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the work is split: the run is over on this replica.
    pub async fn split<C: Serialize>(&mut self, cursors: &[C]) -> Result<(), Stop> {
        self.stop_before_batch()?;
        self.not_in_a_worker("split the work")?;
        let cursors = cursors.iter().map(to_json).collect::<Result<Vec<Value>, Stop>>()?;
        self.held.split(cursors).await
    }

    /// Has workers do `work` on all parts, at most `workers` (at least 1) at a time, and waits for all of them. It is done
    /// for each part, those that an earlier attempt finished included, with a context for the part: the session is
    /// a worker's own, with the settings of the run session, and [`RunContext::cursor`], `batch`, `begin` and the rest
    /// are the part's. A worker whose part is done takes the next one that nobody has.
    ///
    /// This context's session only stays alive meanwhile. Where fewer sessions are to be had than asked for, fewer work.
    ///
    /// # Errors
    /// What ended the first worker that did not finish its part, or the run's own session if that was lost: the others
    /// are brought to a batch border, for 2 s, and then cancelled. [`Stop::Drained`] when this replica shuts down, once
    /// each worker has come to a batch border. [`Stop::Unhealthy`] if not one session is to be had.
    ///
    /// # Cancel safety
    /// Dropping the future cancels what the workers' sessions execute, and closes them. What they committed stays, with
    /// the cursors; the run is over on this replica.
    pub async fn in_parts<W: PartWork>(&mut self, workers: u16, work: &W) -> Result<Worked<W::Done>, Stop> {
        self.stop_if_draining()?;
        self.not_in_a_worker("have workers")?;
        if let Some(name) = self.database() {
            let message = format!("a run has no workers in another database: {name}");
            return Err(Stop::Failed(Error::new(ErrorKind::Invalid, message)));
        }
        let team = Team::of(self);
        let most = usize::from(workers.max(1)).min(self.parts().max(1));
        let hands: FuturesUnordered<_> = (0..most).map(|_| team.hand(work)).collect();
        let over = CancellationToken::new();
        let worked = async {
            let worked = team.all(hands).await;
            over.cancel();
            worked
        };
        let (alive, worked) = futures_util::join!(self.stay_alive(&team, &over), worked);
        let reached = std::mem::take(&mut *locked(&team.reached));
        for (number, part) in reached {
            self.held.note_part(number, part);
        }
        alive?;
        worked
    }

    /// Keeps the run's own session until it is over, and stops the workers if that is lost.
    async fn stay_alive(&mut self, team: &Team, over: &CancellationToken) -> Result<(), Stop> {
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return Ok(()),
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            let alive = self.ping().await;
            if alive.is_err() {
                team.halt();
                return alive;
            }
        }
    }

    pub(super) fn not_in_a_worker(&self, what: &str) -> Result<(), Stop> {
        if !self.held.is_worker() {
            return Ok(());
        }
        let message = format!("a worker cannot {what}: the run itself must, before it has workers");
        Err(Stop::Failed(Error::new(ErrorKind::Invalid, message)))
    }
}

/// Those who work on the parts of a run.
struct Team {
    crew: Crew,
    /// Parts that nobody has yet.
    open: Mutex<VecDeque<(i32, Part)>>,
    /// How far parts came.
    reached: Mutex<BTreeMap<i32, Part>>,
    /// Stops all at a batch border: the replica's shutdown, or one of the team that failed.
    stop: CancellationToken,
    /// One of the team failed.
    failed: CancellationToken,
    /// What contexts of workers are made from.
    connector: Connector,
    options: Options,
    inputs: BTreeMap<String, Value>,
    input_types: BTreeMap<String, String>,
    now: jiff::Timestamp,
    schedule: Option<Schedule>,
    ends: Option<tokio::time::Instant>,
    batches_left: super::context::BatchesLeft,
}

/// What came of one session.
enum Hand<T> {
    /// It worked on these parts.
    Worked(Vec<(i32, T)>),
    /// There was none to be had.
    Missing(Stop),
}

impl Team {
    fn of(context: &RunContext) -> Team {
        let parts = context.held.parts().iter().map(|(number, part)| (*number, part.clone()));
        Team {
            crew: context.held.crew(context.connector.clone()),
            open: Mutex::new(parts.collect()),
            reached: Mutex::default(),
            stop: context.drain.child_token(),
            failed: CancellationToken::new(),
            connector: context.connector.clone(),
            options: context.options.clone(),
            inputs: context.inputs.clone(),
            input_types: context.input_types.clone(),
            now: context.now,
            schedule: context.schedule.clone(),
            ends: context.ends,
            batches_left: context.batches_left.clone(),
        }
    }

    fn halt(&self) {
        self.stop.cancel();
        self.failed.cancel();
    }

    fn context(&self, held: Held) -> RunContext {
        RunContext {
            held,
            connector: self.connector.clone(),
            databases: Databases::default(),
            job_database: None,
            keeper: None,
            home_lost: CancellationToken::new(),
            drain: self.stop.clone(),
            options: self.options.clone(),
            inputs: self.inputs.clone(),
            input_types: self.input_types.clone(),
            now: self.now,
            schedule: self.schedule.clone(),
            ends: self.ends,
            batches_left: self.batches_left.clone(),
        }
    }

    /// One worker: a session, and parts as long as there are any.
    async fn hand<W: PartWork>(&self, work: &W) -> Result<Hand<W::Done>, Stop> {
        let held = match self.crew.join().await {
            Ok(held) => held,
            Err(stop @ Stop::Unhealthy(_)) => return Ok(Hand::Missing(stop)),
            Err(stop) => return Err(stop),
        };
        let mut context = self.context(held);
        let ended = self.take_parts(&mut context, work).await;
        // However it ended. What cannot be left in good order is cancelled and closed.
        if let Err(stop) = context.held.leave().await {
            tracing::debug!(?stop, "session.worker_lost");
        }
        ended.map(Hand::Worked)
    }

    /// Parts as long as there are any, on one session.
    async fn take_parts<W: PartWork>(
        &self,
        context: &mut RunContext,
        work: &W,
    ) -> Result<Vec<(i32, W::Done)>, Stop> {
        work.prepare(context).await?;
        let mut done = Vec::new();
        loop {
            let Some((number, part)) = locked(&self.open).pop_front() else { return Ok(done) };
            context.held.take_part(number, part);
            let answer = work.work(context).await;
            locked(&self.reached).insert(number, context.held.part_done());
            done.push((number, answer?));
        }
    }

    /// Waits for all; once one has failed, only until the others had their time to stop.
    async fn all<T>(
        &self,
        mut hands: FuturesUnordered<impl Future<Output = Result<Hand<T>, Stop>>>,
    ) -> Result<Worked<T>, Stop> {
        let out_of_patience = async {
            self.failed.cancelled().await;
            tokio::time::sleep(STOP_WITHIN).await;
        };
        let mut out_of_patience = std::pin::pin!(out_of_patience);
        let (mut parts, mut workers, mut missing, mut first) = (BTreeMap::new(), 0, None, None);
        loop {
            let ended = tokio::select! {
                biased;
                ended = hands.next() => ended,
                () = &mut out_of_patience => None,
            };
            match ended {
                None => break,
                Some(Ok(Hand::Worked(done))) => {
                    workers += 1;
                    parts.extend(done);
                }
                Some(Ok(Hand::Missing(stop))) => missing = Some(stop),
                // The replica shuts down, and each comes to its batch border in its own time.
                Some(Err(Stop::Drained)) => _ = first.get_or_insert(Stop::Drained),
                Some(Err(stop)) => {
                    first.get_or_insert(stop);
                    self.halt();
                }
            }
        }
        match first.or(missing.filter(|_| workers == 0)) {
            Some(stop) => Err(stop),
            None if self.failed.is_cancelled() => Err(Stop::Drained),
            None => Ok(Worked { parts: parts.into_values().collect(), workers }),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
