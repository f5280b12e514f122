//! I5: who held what, and the tokens that were handed out.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Indexed, Verdict};
use crate::history::Change;

/// One running run a job; a version belongs to one run; nobody takes a job from a session that is alive.
pub fn one_holder(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for changes in indexed.changes.values() {
        let mut owner: HashMap<i64, Uuid> = HashMap::new();
        let mut last = None;
        for change in changes {
            if let Some(run) = change.run
                && *owner.entry(change.version).or_insert(run) != run
            {
                verdict.broken("I5", format!("{}: version {} was issued twice", change.name, change.version));
            }
            if change.taken_from_live {
                verdict.broken(
                    "I5",
                    format!("{}: version {} was taken from a live holder", change.name, change.version),
                );
            }
            // Each change of hands is one step, and nothing else is more than one.
            let step = last.map_or(0, |last: &Change| change.version - last.version);
            let changed_hands = last.is_some_and(|last| last.run != change.run);
            if !(0..=1).contains(&step) || (changed_hands && step == 0) {
                let what =
                    format!("{}: version {} came {step} after the one before", change.name, change.version);
                verdict.broken("I5", what);
            }
            last = Some(change);
        }
    }
    let mut running: HashMap<i64, usize> = HashMap::new();
    for run in &indexed.history.runs {
        let count = running.entry(run.job).or_default();
        *count += usize::from(run.state == "running");
        if *count > 1 {
            verdict.broken("I5", format!("{}: two runs are running", run.name));
        }
    }
}

/// Tokens grow from run to run, attempts end at their bound, and no token was given to two runs, not even by two
/// incarnations of the database.
pub fn tokens_grow(indexed: &Indexed<'_>, verdict: &mut Verdict) {
    for pair in indexed.history.runs.windows(2) {
        let [one, next] = pair else { continue };
        if one.job == next.job && (one.epoch, one.version) >= (next.epoch, next.version) {
            verdict.broken("I5", format!("{}: token {}.{} came twice", next.name, next.epoch, next.version));
        }
    }
    let bounds: HashMap<i64, i32> =
        indexed.history.jobs.iter().map(|job| (job.id, job.max_attempts)).collect();
    for run in &indexed.history.runs {
        if bounds.get(&run.job).is_some_and(|most| run.attempt > *most) {
            verdict.broken(
                "I5",
                format!("{}: attempt {} of at most {:?}", run.name, run.attempt, bounds.get(&run.job)),
            );
        }
    }
    let mut given: HashMap<(&str, &str), Uuid> = HashMap::new();
    for (job, token, run) in &indexed.history.tokens {
        if *given.entry((job, token)).or_insert(*run) != *run {
            verdict.broken("I5", format!("{job}: token {token} was given to two runs"));
        }
    }
}
