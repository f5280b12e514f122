//! Judges a history by the invariants of docs/protocol.md. Knows nothing of faults and of what should have happened.
//!
//! Versions give a total order for each job, so nothing here searches: each check is one pass. What is easy to get
//! wrong: a check that finds nothing to look at passes too. [`Verdict::seen`] counts what was looked at, and the suite
//! refuses a history that is too thin.

mod effects;
mod holders;
mod occurrences;
mod outside;
mod starts;
mod told;

use std::{collections::HashMap, fmt};

use uuid::Uuid;

use crate::history::{Change, History, Run};

/// A promise that was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What the checker looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub attempts: usize,
    pub batches: usize,
    pub effects: usize,
    pub successes: usize,
    pub occurrences: usize,
    pub takeovers: usize,
    /// Calls and programs that receivers noted.
    pub calls: usize,
    /// Claims and outcomes that replicas were told of, by their logs.
    pub told: usize,
    /// Steps that replicas were told of, by their diaries.
    pub acknowledged: usize,
    /// What operators asked for.
    pub wishes: usize,
}

impl Seen {
    /// Whether there was nothing of a sort to look at: then its checks showed nothing.
    pub fn lacks_something(&self) -> bool {
        [self.batches, self.effects, self.occurrences, self.calls, self.told, self.acknowledged, self.wishes]
            .contains(&0)
    }
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.attempts += other.attempts;
        self.batches += other.batches;
        self.effects += other.effects;
        self.successes += other.successes;
        self.occurrences += other.occurrences;
        self.takeovers += other.takeovers;
        self.calls += other.calls;
        self.told += other.told;
        self.acknowledged += other.acknowledged;
        self.wishes += other.wishes;
    }
}

/// What the checker says.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    pub seen: Seen,
}

impl Verdict {
    fn broken(&mut self, invariant: &'static str, what: String) {
        self.violations.push(Violation { invariant, what });
    }
}

/// The history, with what all checks look up.
pub struct Indexed<'a> {
    pub history: &'a History,
    pub runs: HashMap<Uuid, &'a Run>,
    /// Of each job and occurrence, the run that succeeded.
    pub succeeded: HashMap<(i64, i64), &'a Run>,
    /// Changes of each job, by moment.
    pub changes: HashMap<i64, Vec<&'a Change>>,
}

impl<'a> Indexed<'a> {
    fn new(history: &'a History) -> Self {
        let mut changes: HashMap<i64, Vec<&Change>> = HashMap::new();
        for change in &history.changes {
            changes.entry(change.job).or_default().push(change);
        }
        let succeeded = history.runs.iter().filter(|run| run.state == "succeeded");
        let succeeded = succeeded.map(|run| ((run.job, run.occurrence), run)).collect();
        Indexed { history, runs: history.runs.iter().map(|run| (run.id, run)).collect(), succeeded, changes }
    }

    /// Whether everything destructive was halted when this was committed.
    pub fn is_halted(&self, committed: Option<i64>) -> bool {
        let before = |at: &&(Option<i64>, bool)| at.0.is_some() && at.0 < committed;
        self.history.halts.iter().rev().find(before).is_some_and(|(_, halted)| *halted)
    }

    pub fn changes_of(&self, job: i64) -> &[&'a Change] {
        self.changes.get(&job).map_or(&[], Vec::as_slice)
    }
}

/// Judges it.
pub fn check(history: &History) -> Verdict {
    let indexed = Indexed::new(history);
    let mut verdict = Verdict::default();
    effects::no_superseded_commit(&indexed, &mut verdict);
    effects::effect_is_progress(&indexed, &mut verdict);
    effects::each_step_once(&indexed, &mut verdict);
    effects::acknowledged_is_durable(&indexed, &mut verdict);
    holders::one_holder(&indexed, &mut verdict);
    holders::tokens_grow(&indexed, &mut verdict);
    occurrences::none_lost(&indexed, &mut verdict);
    occurrences::wishes_granted(&indexed, &mut verdict);
    occurrences::submitted_run(&indexed, &mut verdict);
    starts::none_too_many(&indexed, &mut verdict);
    starts::none_beside(&indexed, &mut verdict);
    starts::places_kept(&indexed, &mut verdict);
    outside::calls(&indexed, &mut verdict);
    told::as_it_is(&indexed, &mut verdict);
    let states = history.runs.iter().map(|run| run.state.as_str());
    verdict.seen.attempts = history.runs.len();
    verdict.seen.told = history.told.len();
    verdict.seen.acknowledged = history.acknowledged.len();
    verdict.seen.wishes = history.wishes.len();
    verdict.seen.successes = states.clone().filter(|state| *state == "succeeded").count();
    verdict.seen.takeovers = states.filter(|state| *state == "lost").count();
    verdict
}
