//! What a replica does next: a pure function from what it saw to a plan. The driver only carries plans out.
//!
//! There is one path for everything: start-up, tick, hint and crash recovery all look at the same snapshot. What is easy
//! to get wrong: a plan is made from a moment that has passed. Each of its steps is therefore compared again by the
//! function in the database that makes it true, and may come to nothing.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{
    kind::{ComeBack, Nature, Registry, Rights},
    protocol::{
        control::{PlannedNext, Snapshot},
        finish::{Basis, Next},
        job::{Job, Need, Origin, ScheduleColumns},
        schedule::Seed,
    },
};

/// The longest that a replica sleeps without looking, should every hint be lost.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// How often it looks for orphans while something runs elsewhere: a second, less up to 20 % so that replicas spread.
const POLL: (u64, u64) = (800, 1000);

/// What a replica knows besides what it saw.
pub(crate) struct Circumstances<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) install_id: Uuid,
    /// Jobs that this replica runs, or tries for, at this moment.
    pub(crate) busy: &'a HashSet<i64>,
}

/// One thing to write about a job's definition or schedule.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Its next regular instant.
    Plan(Job, PlannedNext),
    /// Its occurrence is too late: the next one.
    Skip(Job, PlannedNext),
    /// Its new revision is valid; the plan stands.
    Accept(Job),
    /// It is invalid, for this reason.
    Reject(Job, String),
}

/// What to do now, and how long to sleep then.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) decisions: Vec<Decision>,
    /// Jobs to try for, in this order.
    pub(crate) claims: Vec<Job>,
    pub(crate) sleep: Duration,
}

/// Plans from a snapshot. Jobs of equal priority are shuffled: replicas that all try the first one lose most tries.
pub(crate) fn plan(snapshot: Snapshot, circumstances: &Circumstances<'_>, rng: &mut fastrand::Rng) -> Plan {
    let Snapshot { jobs, now, next_due_at, runs_elsewhere, halted, adopt_needed } = snapshot;
    let (mut decisions, mut claims) = (Vec::new(), Vec::new());
    for job in jobs {
        match job.need {
            Need::Plan => decisions.push(decide(job, now, circumstances)),
            Need::Recover | Need::Run if circumstances.busy.contains(&job.candidate.job_id) => {}
            Need::Recover => claims.push(job),
            Need::Run => match too_late(&job, now, circumstances.install_id) {
                Some(next) => decisions.push(Decision::Skip(job, next)),
                None if !is_barred(&job, halted, adopt_needed, circumstances.registry) => claims.push(job),
                None => {}
            },
        }
    }
    rng.shuffle(&mut claims);
    // Stable, so what is equal stays shuffled. Recovery first: those have waited already. The one-offs of those who have
    // the fewest on their way come before others' next ones.
    claims.sort_by_key(|job| (job.need != Need::Recover, -i64::from(job.priority), job.turn));
    let poll = Duration::from_millis(rng.u64(POLL.0..=POLL.1));
    let sleep = if !decisions.is_empty() {
        Duration::ZERO
    } else if runs_elsewhere || !claims.is_empty() {
        next_due_at.map_or(poll, |due| poll.min(until(due, now)))
    } else {
        next_due_at.map_or(SLEEP_MAX, |due| until(due, now).min(SLEEP_MAX))
    };
    Plan { decisions, claims, sleep }
}

/// What follows a run that ended, at `basis.now`.
pub(crate) fn after_run(basis: &Basis, seed: &Seed, come_back: ComeBack, rng: &mut fastrand::Rng) -> Next {
    let mut next = Next { retry_after: backoff(basis, rng), ..Next::default() };
    next.resume_at = match come_back {
        ComeBack::Regularly => None,
        ComeBack::Soon => basis.now.checked_add(basis.resume_after).ok(),
        ComeBack::At(instant) => Some(instant.max(basis.now)),
    };
    let Ok((schedule, missed)) = basis.schedule.read(seed) else { return next };
    let settled = match (basis.origin, basis.occurrence) {
        (Some(Origin::Schedule), Some(occurrence)) if basis.scheduled_at == Some(occurrence) => {
            Some(occurrence)
        }
        (_, Some(occurrence)) if schedule.follows_last_run() => Some(occurrence),
        _ => None,
    };
    match settled {
        Some(instant) => {
            let plan = schedule.plan_next(missed, instant, basis.now);
            next.scheduled_at = plan.scheduled_at;
            next.coalesced = i64::try_from(plan.coalesced).unwrap_or(i64::MAX);
        }
        // An extra occurrence leaves the grid where it is.
        None => next.scheduled_at = basis.scheduled_at,
    }
    next.due_at = next.scheduled_at.map(|instant| basis.schedule.due(instant, seed));
    next
}

/// Validates a new revision, and plans a new schedule.
fn decide(mut job: Job, now: Timestamp, circumstances: &Circumstances<'_>) -> Decision {
    let Some(kind) = circumstances.registry.get(&job.kind) else {
        let reason = format!("kind: {} is not known to this replica", job.kind);
        return Decision::Reject(job, reason);
    };
    if let Err(error) = kind.check(&job.params) {
        return Decision::Reject(job, error.to_string());
    }
    if job.run_as.is_some() && kind.rights() == Rights::OfReplica {
        let reason =
            format!("run_as: the kind {} works by the rights of its replica (set run_as to NULL)", job.kind);
        return Decision::Reject(job, reason);
    }
    if let (Some(_), Err(reason)) = (&job.database, kind.elsewhere(&job.params)) {
        return Decision::Reject(job, format!("database: {reason} (set database to NULL)"));
    }
    match kind.needs(&job.params, job.database.as_deref()) {
        Ok(needs) => job.needs = needs.iter().map(ToString::to_string).collect(),
        Err(error) => return Decision::Reject(job, error.to_string()),
    }
    let seed = Seed::new(circumstances.install_id, &job.candidate.job_name);
    let (schedule, missed) = match job.schedule.read(&seed) {
        Ok(read) => read,
        Err(reason) => return Decision::Reject(job, reason),
    };
    if job.planned {
        return Decision::Accept(job);
    }
    let last = job.last_scheduled_at;
    let (scheduled_at, coalesced) = match job.plan_from {
        Some(settled) => {
            let plan = schedule.plan_next(missed, settled, now);
            (plan.scheduled_at, plan.coalesced)
        }
        None => (schedule.first(last.map_or(now, |last| last.max(now))), 0),
    };
    let next = planned(scheduled_at, coalesced, &job.schedule, &seed);
    Decision::Plan(job, next)
}

fn too_late(job: &Job, now: Timestamp, install_id: Uuid) -> Option<PlannedNext> {
    let regular = job.planned && job.origin == Some(Origin::Schedule) && !job.begun;
    let occurrence = job.occurrence.filter(|_| regular)?;
    let seed = Seed::new(install_id, &job.candidate.job_name);
    let (schedule, missed) = job.schedule.read(&seed).ok()?;
    // The jitter is ours: lateness counts from when the job was to be tried, under a default limit too.
    let now = now.checked_sub(seed.jitter(job.schedule.jitter)).unwrap_or(now);
    let plan = schedule.too_late(missed, job.schedule.max_lateness, occurrence, now)?;
    Some(planned(plan.scheduled_at, plan.coalesced, &job.schedule, &seed))
}

fn planned(at: Option<Timestamp>, coalesced: u64, schedule: &ScheduleColumns, seed: &Seed) -> PlannedNext {
    PlannedNext {
        scheduled_at: at,
        due_at: at.map(|instant| schedule.due(instant, seed)),
        coalesced: i64::try_from(coalesced).unwrap_or(i64::MAX),
    }
}

/// Whether the claim would be refused for what holds for the whole installation. The claim decides; this saves it.
fn is_barred(job: &Job, halted: bool, adopt_needed: bool, registry: &Registry) -> bool {
    let Some(kind) = registry.get(&job.kind) else { return true };
    match kind.describe().nature {
        Nature::Destructive => (halted || adopt_needed) && job.armed && !job.wants_dry_run(),
        Nature::Outside => adopt_needed && !job.wants_dry_run(),
        Nature::Database => false,
    }
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    // A little more, so that the scan does not come just before the due time.
    const MARGIN: Duration = Duration::from_millis(2);
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO) + MARGIN
}

/// The job's backoff, doubled with each attempt up to its bound, and up to a quarter more as jitter.
fn backoff(basis: &Basis, rng: &mut fastrand::Rng) -> Duration {
    let doublings = u32::try_from(basis.attempt.clamp(1, 32)).unwrap_or(1) - 1;
    let factor = i32::try_from(1_u64 << doublings.min(30)).unwrap_or(i32::MAX);
    let wait = basis.backoff.checked_mul(factor).unwrap_or(SignedDuration::MAX).min(basis.backoff_max);
    let wait = Duration::try_from(wait).unwrap_or(Duration::ZERO);
    wait.mul_f64(1.0 + rng.f64() / 4.0)
}
