//! Carries plans out: the loop of a replica.
//!
//! Idle, it sleeps until the next due time (30 s at the most) and holds one session. While something runs elsewhere it
//! looks each second, so that a crashed replica's job goes on here about a second later. What is easy to get wrong: the
//! control session and the runs do not depend on one another. When the database restarts, the control session is opened
//! again, and the runs end by themselves.

use std::{collections::VecDeque, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Shared,
    busy::Busy,
    deliver::Deliveries,
    execute::{Attempt, Tried, attempt},
    plan::{Circumstances, Decision, plan},
};
use crate::{
    error::{Error, ErrorKind, Result},
    protocol::{
        claim::Candidate,
        control::{Control, Incarnation},
        job::Job,
        session::RunSession,
    },
};

/// Hints are answered at once, but not more often than this.
const SCAN_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The most that the control session may take for one look, or to be opened. A server that is silent, or a proxy before
/// it, keeps a connection that says nothing for as long as it likes; the control session has no lease that would end it.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a decision that the database refused is left alone.
const FAILED_PLANNING_WAIT: Duration = Duration::from_secs(1);
/// More jobs than are ever due at once.
const SCAN_ALL: i64 = 1_000_000;
/// The first and the longest wait between two tries to reach the database; up to half as much again is added.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1000));

/// How often a replica looks for jobs that are overdue, or whose lock a stranger holds.
const ALARMS_EVERY: Duration = Duration::from_secs(10);

/// A task that tried for one job.
type Done = (Candidate, Tried);

/// The replica's state besides what it shares with its runs.
struct Driver {
    shared: Shared,
    runs: JoinSet<Done>,
    busy: Busy,
    queue: VecDeque<Job>,
    /// Sessions that one-offs left, for others of the same definition, until the slots are filled.
    kept: Vec<((i64, i64), RunSession)>,
    deliveries: Deliveries,
    /// When alarms were looked for last.
    alarms: Option<Instant>,
    rng: fastrand::Rng,
}

/// Why the loop over one control session ended.
enum Left {
    /// Told to shut down.
    ShuttingDown,
    /// The session ended.
    Unreachable(Error),
}

pub(super) async fn drive(shared: Shared) -> Result<()> {
    let Some(opened) = open_control(&shared).await else { return Ok(()) };
    let mut control = opened?;
    let deliveries = Deliveries::new(shared.deliver.clone(), shared.registration.replica_id);
    let mut driver = Driver {
        shared,
        deliveries,
        alarms: None,
        runs: JoinSet::new(),
        busy: Busy::default(),
        queue: VecDeque::new(),
        kept: Vec::new(),
        rng: fastrand::Rng::new(),
    };
    driver.shared.installation = Some(control.installation());
    let registration = &driver.shared.registration;
    tracing::info!(replica = %registration.replica_id, name = registration.name, program = registration.program,
        slots = registration.slots, kinds = ?registration.kinds, "replica.started");
    loop {
        note_incarnation(control.incarnation());
        match driver.work(&mut control).await {
            Left::ShuttingDown => {
                driver.drain().await;
                driver.deliver_rest(&control).await;
                break;
            }
            Left::Unreachable(error) => tracing::warn!(%error, "session.lost"),
        }
        drop(control);
        match driver.reconnect().await {
            Some(opened) => control = opened?,
            None => {
                driver.drain().await;
                break;
            }
        }
        driver.shared.installation = Some(control.installation());
    }
    tracing::info!(replica = %driver.shared.registration.replica_id, "replica.stopped");
    Ok(())
}

impl Driver {
    /// Looks, plans, carries out, sleeps; until the session ends or the replica shall.
    async fn work(&mut self, control: &mut Control) -> Left {
        loop {
            let looked = Instant::now();
            let drain = self.shared.shutdown.drain.clone();
            let answer = tokio::select! {
                biased;
                () = drain.cancelled() => return Left::ShuttingDown,
                answer = tokio::time::timeout(CONTROL_TIMEOUT, self.look(control)) => answer,
            };
            let sleep = match answer {
                Ok(Ok(sleep)) => sleep,
                Ok(Err(error)) => return Left::Unreachable(error),
                Err(_) => return Left::Unreachable(silence()),
            };
            if let Some(left) = self.wait(control, looked, looked + sleep).await {
                return left;
            }
        }
    }

    /// One scan, and all that follows from it but the runs themselves.
    async fn look(&mut self, control: &mut Control) -> Result<Duration> {
        control.forget_hints();
        let knows = self.shared.registry.known();
        if knows != self.shared.registration.knows {
            self.shared.registration.knows = knows;
            control.note_known(&self.shared.registration).await?;
        }
        let registration = &self.shared.registration;
        self.busy.end_unheard(control, registration.replica_id, self.shared.lease.idle).await?;
        // Who runs a few jobs alone must find them behind all that is due before them.
        let most = if self.shared.only.is_some() { SCAN_ALL } else { i64::from(registration.slots) * 4 + 32 };
        let busy = self.busy.jobs();
        let channels = self.deliveries.channels();
        let snapshot = control.scan(registration, &Vec::from_iter(busy.clone()), &channels, most).await?;
        let install_id = control.installation().install_id;
        let circumstances = Circumstances { registry: &self.shared.registry, install_id, busy: &busy };
        let plan = plan(snapshot, &circumstances, &mut self.rng);
        let mut sleep = plan.sleep;
        for decision in &plan.decisions {
            match carry_out(control, decision).await {
                Err(error) if error.kind() != ErrorKind::Unreachable => {
                    tracing::error!(%error, "job.planning_failed");
                    sleep = FAILED_PLANNING_WAIT;
                }
                carried_out => carried_out?,
            }
        }
        self.queue =
            plan.claims.into_iter().filter(|job| self.shared.takes(&job.candidate.job_name)).collect();
        self.fill_slots();
        self.tell(control, &channels).await?;
        Ok(sleep)
    }

    /// Notices: those of jobs that no run tells of, and those that are to be sent. Work goes before them.
    async fn tell(&mut self, control: &Control, channels: &[String]) -> Result<()> {
        if self.alarms.is_none_or(|looked| looked.elapsed() >= ALARMS_EVERY) {
            self.alarms = Some(Instant::now());
            unless_unreachable(control.raise_alarms().await.map(drop))?;
        }
        unless_unreachable(self.deliveries.look(control, channels).await)
    }

    /// Sends the notices of the runs that just ended, so that a replica which was started for a moment leaves none behind.
    async fn deliver_rest(&mut self, control: &Control) {
        let shutdown = self.shared.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.at_once.cancelled() => {}
            () = tokio::time::sleep(self.shared.drain_timeout) => {}
            told = self.deliveries.finish(control) => {
                if let Err(error) = told {
                    tracing::warn!(%error, "notice.look_failed");
                }
            }
        }
    }

    /// Starts tries for queued jobs while slots are free. Sessions for which there is nothing to do then are closed: a
    /// replica that is idle has one.
    fn fill_slots(&mut self) {
        while self.runs.len() < usize::from(self.shared.registration.slots) {
            let Some(job) = self.queue.pop_front() else { break };
            let (candidate, shared) = (job.candidate.clone(), self.shared.clone());
            let fits = |(definition, _): &(_, _)| candidate.definition() == Some(*definition);
            let session = self.kept.iter().position(fits).map(|at| self.kept.swap_remove(at).1);
            let gone = self.busy.begin(candidate.job_id);
            self.runs.spawn(async move { (candidate, attempt(&shared, job, session, &gone).await) });
        }
        self.kept.clear();
    }

    /// Waits for what may change the plan: a run that ended, a hint, the time. `Some` ends the loop.
    async fn wait(&mut self, control: &mut Control, looked: Instant, mut until: Instant) -> Option<Left> {
        let drain = self.shared.shutdown.drain.clone();
        let mut names = self.shared.registry.names();
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Some(Left::ShuttingDown),
                () = names.differ_from(&self.shared.registration.knows) => return None,
                Some(done) = self.runs.join_next() => {
                    if self.note_done(done) == Look::Again {
                        // What was seen a moment ago will do; a look costs more than many a run.
                        if self.queue.is_empty() || looked.elapsed() >= SCAN_INTERVAL_MIN {
                            return None;
                        }
                        until = until.min(looked + SCAN_INTERVAL_MIN);
                    }
                    self.fill_slots();
                }
                () = self.deliveries.one_ended() => return None,
                hint = control.hint() => match hint {
                    Ok(()) => until = until.min(looked + SCAN_INTERVAL_MIN),
                    Err(error) => return Some(Left::Unreachable(error)),
                },
                () = tokio::time::sleep_until(until) => return None,
            }
        }
    }

    fn note_done(&mut self, done: std::result::Result<Done, tokio::task::JoinError>) -> Look {
        match done {
            Ok((candidate, Tried { attempt, session })) => {
                self.busy.end(candidate.job_id);
                self.kept.extend(candidate.definition().zip(session));
                match attempt {
                    Attempt::Ran { outcome } => {
                        tracing::trace!(job_id = candidate.job_id, ?outcome, "slot.freed");
                        Look::Again
                    }
                    Attempt::Lost => Look::Later,
                    Attempt::Failed(error) => {
                        log_failure(&error);
                        Look::Later
                    }
                }
            }
            // A kind's panic is caught where it runs; this one is ours. Which job it was is not known any more, so
            // all of them are looked at again: the lock and the version keep that safe.
            Err(error) => {
                tracing::error!(%error, "slot.panicked");
                self.busy.clear();
                Look::Again
            }
        }
    }

    /// Tries until the database is back; `None` when told to shut down meanwhile.
    async fn reconnect(&mut self) -> Option<Result<Control>> {
        let mut wait = RECONNECT.0;
        loop {
            let spread = wait.mul_f64(1.0 + self.rng.f64() / 2.0);
            tokio::select! {
                biased;
                () = self.shared.shutdown.drain.cancelled() => return None,
                () = tokio::time::sleep(spread) => {}
            }
            match open_control(&self.shared).await? {
                Ok(control) => return Some(Ok(control)),
                Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Unsuitable) => {
                    tracing::debug!(%error, "session.reconnect_failed");
                }
                Err(error) => return Some(Err(error)),
            }
            wait = (wait * 2).min(RECONNECT.1);
            while let Some(done) = self.runs.try_join_next() {
                self.note_done(done);
            }
            self.kept.clear();
        }
    }

    /// Waits for the runs to come to a batch border, and in the end no longer.
    async fn drain(&mut self) {
        self.queue.clear();
        let shutdown = self.shared.shutdown.clone();
        shutdown.drain();
        let deadline = Instant::now() + self.shared.drain_timeout;
        loop {
            tokio::select! {
                done = self.runs.join_next() => match done {
                    Some(done) => {
                        self.note_done(done);
                        self.kept.clear();
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(deadline), if !shutdown.at_once.is_cancelled() => {
                    tracing::warn!(runs = self.runs.len(), "replica.drain_timed_out");
                    shutdown.at_once();
                }
            }
        }
    }
}

/// Opens the control session; `None` when told to shut down meanwhile.
async fn open_control(shared: &Shared) -> Option<Result<Control>> {
    tokio::select! {
        biased;
        () = shared.shutdown.drain.cancelled() => None,
        opened = tokio::time::timeout(CONTROL_TIMEOUT, Control::open(&shared.connector, &shared.registration)) => {
            Some(opened.unwrap_or_else(|_| Err(silence())))
        }
    }
}

/// Trouble with notices must not keep a replica from its jobs; a session that has ended does.
fn unless_unreachable(told: Result<()>) -> Result<()> {
    match told {
        Err(error) if error.kind() != ErrorKind::Unreachable => {
            tracing::warn!(%error, "notice.look_failed");
            Ok(())
        }
        told => told,
    }
}

fn silence() -> Error {
    Error::new(
        ErrorKind::Unreachable,
        format!("the server did not answer the control session within {CONTROL_TIMEOUT:?}"),
    )
}

/// Whether a try that ended is a reason to look at the table again at once.
#[derive(PartialEq, Eq)]
enum Look {
    Again,
    Later,
}

pub(crate) async fn carry_out(control: &Control, decision: &Decision) -> Result<()> {
    match decision {
        Decision::Plan(job, next) => {
            let planned = control.plan(job, next).await?;
            let next = next.scheduled_at.map(tracing::field::display);
            tracing::debug!(job = job.candidate.job_name, next, planned, "job.planned");
        }
        Decision::Skip(job, next) => {
            let skipped = control.skip(job, next).await?;
            tracing::info!(job = job.candidate.job_name, missed = next.coalesced, skipped, "job.skipped");
        }
        Decision::Accept(job) => control.accept(job).await?,
        Decision::Reject(job, reason) => {
            control.reject(job, reason).await?;
            tracing::warn!(job = job.candidate.job_name, reason, "job.rejected");
        }
    }
    Ok(())
}

fn note_incarnation(incarnation: &Incarnation) {
    match incarnation {
        Incarnation::Same => {}
        Incarnation::Unreadable => tracing::debug!("incarnation.unreadable"),
        Incarnation::NewTimeline => tracing::warn!("incarnation.new_timeline"),
        Incarnation::NewSystem => tracing::error!("incarnation.new_system"),
    }
}

fn log_failure(error: &Error) {
    match error.kind() {
        // The control session sees the same, and says it once.
        ErrorKind::Unreachable => tracing::debug!(%error, "claim.failed"),
        _ => tracing::error!(%error, "claim.failed"),
    }
}
