//! One run, from the claim to the settlement.
//!
//! What is easy to get wrong: when the kind's future is dropped (timeout, shutdown at once), the server may still be at
//! work for it. The run session is then in doubt: the statement is cancelled, the session closed, and the run is ended
//! by another session. That is safe, since ending is decided by version and run id; going on would not be.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{Shared, plan};
use crate::{
    error::{Error, ErrorKind, Result},
    kind::{ComeBack, Nature, Options, Registered, Report, RunContext},
    protocol::{
        claim::{Claim, Claimed, Rules, claim},
        finish::{self, Recorded},
        held::{Held, SessionState},
        job::Job,
        run::{Again, Outcome, Settlement, Stop},
        schedule::Seed,
        session::{RunSession, Settings},
    },
    runner::hooks::{RunEvent, RunInfo},
    statements,
};

/// How long a try may take until it is won or lost; what it took is given up then.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(60);
/// How long ending a run may take; after that it is left to whoever recovers the job.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What came of trying for a job.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Another has it, or nothing may start now.
    Lost,
    /// It ran here.
    Ran {
        /// `None` where the run was no longer this replica's to end.
        outcome: Option<Outcome>,
    },
    /// The database could not be reached, or something in between breaks sessions.
    Failed(Error),
}

/// A try that is over.
pub(crate) struct Tried {
    pub(crate) attempt: Attempt,
    /// Its session, as clean as a new one, for the next one-off of the same definition.
    pub(crate) session: Option<RunSession>,
}

impl From<Attempt> for Tried {
    fn from(attempt: Attempt) -> Self {
        Tried { attempt, session: None }
    }
}

/// Tries for a job, and runs it if it is won. A `session` is one that was left by a one-off of the same definition; `gone`
/// says that the database has no session of the run any more, for a connection may say nothing of it.
///
/// # Cancel safety
/// Dropping the future abandons the run: its session closes, and another replica recovers it.
pub(crate) async fn attempt(shared: &Shared, job: Job, session: Option<RunSession>, gone: &Notify) -> Tried {
    let Some(kind) = shared.registry.get(&job.kind).cloned() else { return Attempt::Lost.into() };
    let nature = kind.describe().nature;
    let rules = Rules { destructive: nature == Nature::Destructive, outside: nature == Nature::Outside };
    let settings = Settings { lease: shared.lease, search_path: None };
    let (claimant, candidate) = (shared.claimant(), &job.candidate);
    let claimed = claim(&shared.connector, candidate, &claimant, rules, settings, session);
    let claimed =
        tokio::time::timeout(CLAIM_TIMEOUT, claimed).await.unwrap_or_else(|_| Err(silence(CLAIM_TIMEOUT)));
    let name = &job.candidate.job_name;
    match claimed {
        Ok(Claimed::Won(held)) => run(shared, &job, *held, &kind, gone).await,
        Ok(Claimed::Settled(reason)) => {
            tracing::info!(job = name, reason, "claim.settled");
            Attempt::Ran { outcome: None }.into()
        }
        Ok(Claimed::Lost(reason, session)) => {
            tracing::trace!(job = name, reason, "claim.lost");
            Tried { attempt: Attempt::Lost, session: session.map(|session| *session) }
        }
        Err(error) => Attempt::Failed(error).into(),
    }
}

async fn run(shared: &Shared, job: &Job, held: Held, kind: &Registered, gone: &Notify) -> Tried {
    let info = RunInfo::new(held.claim(), job);
    tracing::info!(job = info.job, run = %info.run_id, version = info.version, attempt = info.attempt,
        mode = info.mode.as_str(), "claim.won");
    shared.tell(&RunEvent::Started(&info));
    let (mut context, options) = prepare(shared, job, held);
    let ended = match options {
        Ok(()) => tokio::select! {
            biased;
            ended = work(shared, job, &mut context, kind) => ended,
            () = gone.notified() => Err(Stop::Lost(unheard())),
        },
        Err(stop) => Err(stop),
    };
    let (come_back, settlement) = match ended {
        Ok(report) => (report.come_back, Some(Settlement::succeeded(report.to_json()))),
        Err(stop) => {
            log_stop(&info, &stop);
            (ComeBack::Regularly, stop.settlement())
        }
    };
    let Some(settlement) = settlement else {
        abandon(context.into_held()).await;
        shared.tell(&RunEvent::Lost(&info));
        return Attempt::Ran { outcome: None }.into();
    };
    let (recorded, session) = end(shared, job, context.into_held(), &settlement, come_back).await;
    let outcome = match recorded {
        Ok(Recorded::Finished(due_at)) => {
            let (outcome, error) = (settlement.outcome.as_str(), settlement.error.as_deref());
            tracing::info!(job = info.job, run = %info.run_id, outcome, error, next = due_at.map(tracing::field::display),
                "run.finished");
            shared.tell(&RunEvent::Finished(&info, &settlement));
            Some(settlement.outcome)
        }
        Ok(Recorded::Fenced) => {
            tracing::info!(job = info.job, run = %info.run_id, "run.fenced");
            shared.tell(&RunEvent::Lost(&info));
            None
        }
        Err(error) => {
            tracing::warn!(job = info.job, run = %info.run_id, %error, "run.lost");
            shared.tell(&RunEvent::Lost(&info));
            None
        }
    };
    Tried { attempt: Attempt::Ran { outcome }, session }
}

fn prepare(shared: &Shared, job: &Job, held: Held) -> (RunContext, Result<(), Stop>) {
    let options = serde_json::from_value::<Options>(held.claim().options.clone());
    let refusal = options
        .as_ref()
        .err()
        .map(|error| Stop::refused(format!("options: {error}"), "run it again without"));
    let inputs = held.claim().inputs.as_object().cloned().unwrap_or_default().into_iter().collect();
    let declared = job.inputs.as_object().cloned().unwrap_or_default();
    let now = shared.now.unwrap_or(held.claim().claimed_at);
    let seed = Seed::new(held.claim().install_id, &job.candidate.job_name);
    let context = RunContext {
        held,
        connector: shared.connector.clone(),
        databases: shared.registry.databases(),
        job_database: job.database.clone(),
        keeper: None,
        home_lost: CancellationToken::new(),
        drain: shared.shutdown.drain.clone(),
        options: options.unwrap_or_default(),
        inputs,
        input_types: declared
            .into_iter()
            .filter_map(|(name, kind)| Some((name, kind.as_str()?.to_owned())))
            .collect(),
        now,
        schedule: job.schedule.read(&seed).ok().map(|(schedule, _)| schedule),
        ends: tokio::time::Instant::now().checked_add(timeout(job)),
        batches_left: shared.kill_after_batches.map(|batches| Arc::new(batches.into())),
    };
    (context, refusal.map_or(Ok(()), Err))
}

fn timeout(job: &Job) -> Duration {
    Duration::try_from(job.timeout).unwrap_or(Duration::MAX)
}

/// Lets the kind work until it is done, its time is over, or this process must end at once. Contains its panics.
async fn work(
    shared: &Shared,
    job: &Job,
    context: &mut RunContext,
    kind: &Registered,
) -> Result<Report, Stop> {
    let home_lost = context.home_lost.clone();
    let work = async {
        context.work_in(None).await?;
        kind.run(context, job.params.clone()).await
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        () = shared.shutdown.at_once.cancelled() => Err(Stop::Drained),
        () = tokio::time::sleep(timeout(job)) => Err(Stop::TimedOut),
        () = home_lost.cancelled() => Err(Stop::Lost(Error::new(ErrorKind::Unreachable, "the run session has ended"))),
        ended = work => ended.unwrap_or_else(|panic| Err(Stop::Failed(panicked(&*panic)))),
    }
}

/// Writes the settlement, by the run session if that is fit, else by a new one. The former may serve once more, if
/// there is no doubt about it.
async fn end(
    shared: &Shared,
    job: &Job,
    held: Held,
    settlement: &Settlement,
    come_back: ComeBack,
) -> (Result<Recorded>, Option<RunSession>) {
    let holds = held.holds_resources();
    let (claim, session, state) = held.into_parts();
    let settled = async {
        if state == SessionState::Fit {
            let job_id = claim.job_id;
            let recorded = settle(job, session.client(), claim, settlement, come_back).await;
            if holds && recorded.is_ok() {
                // They are free in a moment, with the session's locks; but nobody would be told.
                let _ = session.client().query_one(statements::GIVE_ALL, &[]).await;
            }
            prune(session.client(), job_id).await;
            let spotless = settlement.outcome == Outcome::Succeeded
                && matches!(recorded, Ok(Recorded::Finished(_)))
                && job.candidate.definition().is_some();
            return (recorded, if spotless { session.renewed().await } else { None });
        }
        give_up(session).await;
        (settle_anew(shared, job, claim, settlement, come_back).await, None)
    };
    let settled = tokio::time::timeout(SETTLE_TIMEOUT, settled).await;
    settled.unwrap_or_else(|_| (Err(silence(SETTLE_TIMEOUT)), None))
}

/// By another session than the run's own.
async fn settle_anew(
    shared: &Shared,
    job: &Job,
    claim: Claim,
    settlement: &Settlement,
    come_back: ComeBack,
) -> Result<Recorded> {
    let fresh = shared.connector.open(&format!("sexton/settle/{}", claim.job_name), &[]).await?;
    let job_id = claim.job_id;
    let recorded = settle(job, &fresh.client, claim, settlement, come_back).await;
    prune(&fresh.client, job_id).await;
    recorded
}

/// Leaves a run that is no longer ours, without waiting for what the server may still be doing for it.
async fn abandon(held: Held) {
    if let (_, session, SessionState::InDoubt) = held.into_parts() {
        give_up(session).await;
    }
}

async fn settle(
    job: &Job,
    client: &Client,
    claim: Claim,
    settlement: &Settlement,
    come_back: ComeBack,
) -> Result<Recorded> {
    let job_id = claim.job_id;
    let Some(basis) = finish::basis(client, job_id).await? else { return Ok(Recorded::Fenced) };
    let seed = Seed::new(claim.install_id, &job.candidate.job_name);
    let mut next = plan::after_run(&basis, &seed, come_back, &mut fastrand::Rng::new());
    if settlement.again == Again::AtOnce {
        next.retry_after = Duration::ZERO;
    }
    finish::finish(client, claim, settlement, &basis, &next).await
}

/// History is bounded as it grows; should this fail, the next run's will do it.
async fn prune(client: &Client, job_id: i64) {
    if let Err(error) = client.query_one(statements::PRUNE, &[&job_id]).await {
        tracing::debug!(%error, "prune.failed");
    }
}

/// Ends what the server may still be doing for a session in doubt, and the session.
async fn give_up(session: RunSession) {
    let canceler = session.canceler().clone();
    drop(session);
    if let Err(error) = canceler.cancel().await {
        tracing::debug!(%error, "session.cancel_failed");
    }
}

fn silence(waited: Duration) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the database did not answer within {waited:?}"))
}

fn unheard() -> Error {
    let message =
        "the server knows no session that holds the job for this run, and the connection says nothing of it";
    Error::new(ErrorKind::Unreachable, message)
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text =
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
    Error::new(ErrorKind::Outside, format!("the kind panicked: {text}"))
}

fn log_stop(info: &RunInfo<'_>, stop: &Stop) {
    match stop {
        Stop::Fenced(reason) => {
            tracing::info!(job = info.job, run = %info.run_id, reason = reason.as_str(), "run.fenced");
        }
        Stop::Lost(error) => tracing::warn!(job = info.job, run = %info.run_id, %error, "run.lost"),
        Stop::Unhealthy(error) => tracing::warn!(job = info.job, run = %info.run_id, %error, "run.unhealthy"),
        Stop::Drained => tracing::info!(job = info.job, run = %info.run_id, "run.released"),
        Stop::Failed(error) | Stop::Unexpected { error, .. } => {
            tracing::warn!(job = info.job, run = %info.run_id, %error, "run.failed");
        }
        Stop::TimedOut => tracing::warn!(job = info.job, run = %info.run_id, "run.timed_out"),
        Stop::Refused { reason, .. } => {
            tracing::warn!(job = info.job, run = %info.run_id, reason, "run.refused")
        }
    }
}
