//! I3: no occurrence was lost, and no wish that was accepted.

use std::collections::{HashMap, HashSet};

use super::{Indexed, Verdict};
use crate::history::{Change, Job, Run};

/// Runs + coalesced = elapsed instants, and an occurrence that was begun came to an end.
pub fn none_lost(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let mut runs: HashMap<i64, Vec<&Run>> = HashMap::new();
    for run in &indexed.history.runs {
        runs.entry(run.job).or_default().push(run);
    }
    for job in &indexed.history.jobs {
        let of_job = runs.get(&job.id).map_or(&[] as &[&Run], Vec::as_slice);
        count_instants(indexed, job, of_job, verdict);
        ended(indexed, job.occurrence, job.max_attempts, of_job, verdict);
    }
    // One-offs are gone when they are done.
    for of_job in runs.values().filter(|runs| runs.iter().all(|run| run.parent.is_some())) {
        let there = |job: &&Job| Some(job.id) == of_job.first().map(|run| run.job);
        if !indexed.history.jobs.iter().any(|job| there(&job)) {
            ended(indexed, None, i32::MAX, of_job, verdict);
        }
    }
}

fn count_instants(indexed: &Indexed<'_>, job: &Job, runs: &[&Run], verdict: &mut Verdict) {
    let (Some(period), true, Some(next)) = (job.period, job.planned, job.scheduled_at) else { return };
    let Some(first) = indexed.changes_of(job.id).iter().find_map(|change| change.scheduled_at) else {
        return;
    };
    let regular = |run: &&&Run| run.origin == "schedule" && run.occurrence < next;
    let settled = runs.iter().filter(regular).map(|run| run.occurrence).collect::<HashSet<_>>().len() as i64;
    let coalesced = runs.iter().map(|run| run.coalesced).sum::<i64>() + job.missed_count;
    let elapsed = (next - first) / period;
    verdict.seen.occurrences += settled as usize;
    if settled + coalesced != elapsed {
        let what =
            format!("{}: {elapsed} instants elapsed, {settled} were run and {coalesced} counted", job.name);
        verdict.broken("I3", what);
    }
}

/// An occurrence that the job has left behind has an outcome that ends it, or an operator dropped it.
fn ended(
    indexed: &Indexed<'_>,
    present: Option<i64>,
    max_attempts: i32,
    runs: &[&Run],
    verdict: &mut Verdict,
) {
    let mut last: HashMap<i64, &Run> = HashMap::new();
    for run in runs {
        last.insert(run.occurrence, run);
    }
    let job = runs.first().map(|run| run.job);
    let wished = indexed.history.wishes.iter().any(|wish| Some(wish.job) == job && wish.verb == "cancel");
    for run in last.values().filter(|run| Some(run.occurrence) != present) {
        let final_state =
            matches!(run.state.as_str(), "succeeded" | "failed" | "timed_out" | "cancelled" | "refused");
        let used_up = run.state == "lost" && run.attempt >= max_attempts;
        // A run now with another wish takes the place of a retry; the regular instant itself comes again.
        let replaced = run.origin == "run_now" || wished;
        if !(final_state || used_up || replaced) {
            verdict.broken(
                "I3",
                format!("{}: the occurrence of run {} ended as {}", run.name, run.id, run.state),
            );
        }
    }
}

/// After each accepted run_now the job was claimed, unless it was cancelled or deleted.
pub fn wishes_granted(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let wishes = &indexed.history.wishes;
    for wish in wishes.iter().filter(|wish| wish.verb == "run_now") {
        let withdrawn =
            wishes.iter().any(|w| w.job == wish.job && w.verb == "cancel" && w.moment > wish.moment);
        let changes = indexed.changes_of(wish.job);
        let version =
            changes.iter().rev().find(|change| change.moment < wish.moment).map(|change| change.version);
        let claimed = |change: &&&Change| change.running && Some(change.version) > version || change.deleted;
        let granted =
            changes.iter().filter(|change| change.moment > wish.moment).any(|change| claimed(&change));
        if !granted && !withdrawn {
            verdict.broken("I3", format!("job {}: a run_now that was accepted was never run", wish.job));
        }
    }
}

/// After each accepted submit, a one-off with its key was begun.
pub fn submitted_run(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    let mut last_begun: HashMap<(i64, &Option<String>), i64> = HashMap::new();
    for change in indexed.history.changes.iter().filter(|change| change.running) {
        if let Some(parent) = change.parent {
            last_begun.insert((parent, &change.key), change.moment);
        }
    }
    for wish in indexed.history.wishes.iter().filter(|wish| wish.verb == "submit") {
        let begun = last_begun.get(&(wish.job, &wish.key));
        if begun.is_none_or(|begun| *begun < wish.moment) {
            verdict.broken("I3", format!("job {}: {:?} was submitted and never run", wish.job, wish.key));
        }
    }
}
