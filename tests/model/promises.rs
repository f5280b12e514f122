//! The promises that hold of every state, judged on the rows alone; those about one moment (a commit, a claim)
//! are noted where that moment is.
//!
//! After a lossy failover they speak of the surviving history, since effects and progress are lost together.
//! Easy to get wrong: judging by the replicas' beliefs. What a zombie believes is its own affair.

use crate::{
    database::{Database, EXTRA, Mode, Outcome, Run},
    rules::{Clients, Locks, Promise, Setup},
    world::{Backend, State},
};

/// Notes in `state.broken` what does not hold of it.
pub fn check(setup: &Setup, state: &mut State) {
    let database = &state.database;
    let mut broken = state.broken;
    broken.unless(each_step_once(setup, database), Promise::I2EachStepOnce);
    broken.unless(no_occurrence_lost(setup, database), Promise::I3NoOccurrenceLost);
    broken.unless(effect_is_progress(database), Promise::I4EffectIsProgress);
    broken.unless(one_running_run(database), Promise::I5TokensGrow);
    broken.unless(database.job.attempt <= setup.max_attempts, Promise::I5AttemptsEnd);
    broken.unless(no_overlap(setup, state), Promise::G5NoOverlap);
    let untouched = state.faults == setup.fault_budget && state.verbs == setup.verb_budget;
    broken.unless(!untouched || database.job.attempt <= 1, Promise::NoAttemptWasted);
    state.broken = broken;
}

/// What must hold at the moment of a claim.
pub fn check_claim(state: &mut State) {
    let database = &state.database;
    let job = &database.job;
    let run = database.runs.last().expect("the claim has just inserted it");
    let cancelled = database.cancelled & (1 << job.occurrence) != 0;
    let reached = database.runs.iter().rev().skip(1).find(|earlier| is_same_work(earlier, run));
    let inherited = run.cursor == reached.map_or(0, |earlier| earlier.cursor);
    state.broken.unless(!cancelled, Promise::CancelOutlivesHolder);
    state.broken.unless(inherited, Promise::CursorStaysInRevision);
}

fn is_same_work(a: &Run, b: &Run) -> bool {
    (a.occurrence, a.revision, a.mode) == (b.occurrence, b.revision, b.mode)
}

/// I2.
fn each_step_once(setup: &Setup, database: &Database) -> bool {
    let no_double = database.effects.windows(2).all(|pair| pair[0] != pair[1]);
    let successes = || database.runs.iter().filter(|run| run.outcome == Outcome::Succeeded);
    let complete =
        successes().filter(|run| run.mode == Mode::Real).all(|run| steps_of(database, run) == setup.steps);
    let single =
        successes().all(|run| successes().filter(|other| other.occurrence == run.occurrence).count() == 1);
    no_double && complete && single
}

fn steps_of(database: &Database, run: &Run) -> u8 {
    let of_run = |occurrence, revision| (occurrence, revision) == (run.occurrence, run.revision);
    database.effects.iter().filter(|effect| of_run(effect.occurrence, effect.revision)).count() as u8
}

/// I3: the regular instants before the pending one were each settled, or counted as missed; each accepted
/// `run_now` became an extra occurrence or will, and each of these was settled or is the pending one.
fn no_occurrence_lost(setup: &Setup, database: &Database) -> bool {
    let job = &database.job;
    let settled = |occurrence: &u8| {
        let dropped = database.cancelled & (1 << occurrence) != 0;
        dropped || database.runs.iter().any(|run| run.occurrence == *occurrence && has_settled(setup, run))
    };
    let regular = (1..job.scheduled_at).filter(settled).count() as u8;
    let missed = job.missed_count + database.runs.iter().map(|run| run.coalesced).sum::<u8>();
    let mut extra = EXTRA..EXTRA + database.extras;
    regular + missed == job.scheduled_at - 1
        && database.accepted == database.extras + u8::from(job.rerun)
        && extra.all(|extra| job.occurrence == extra || settled(&extra))
}

fn has_settled(setup: &Setup, run: &Run) -> bool {
    match run.outcome {
        Outcome::Succeeded | Outcome::Cancelled => true,
        Outcome::Failed | Outcome::Lost => run.attempt >= setup.max_attempts,
        Outcome::Running | Outcome::Released | Outcome::Superseded | Outcome::Killed => false,
    }
}

/// I4: of the latest real run of each (occurrence, revision), the cursor counts the effects.
fn effect_is_progress(database: &Database) -> bool {
    database.runs.iter().filter(|run| run.mode == Mode::Real).all(|run| {
        let latest = database.runs.iter().rfind(|other| is_same_work(other, run));
        latest.is_none_or(|latest| latest.cursor == steps_of(database, run))
    })
}

/// I5, its first half.
fn one_running_run(database: &Database) -> bool {
    database.runs.iter().filter(|run| run.outcome == Outcome::Running).count()
        == usize::from(database.job.running)
}

/// G5: promised in lock mode, to replicas that keep to the rule of one session a run.
fn no_overlap(setup: &Setup, state: &State) -> bool {
    let promised = setup.locks == Locks::Session && setup.clients == Clients::Obedient;
    let at_work = |backend| matches!(backend, Backend::Working(_) | Backend::Fenced(_));
    !promised || state.replicas.iter().filter(|replica| at_work(replica.backend)).count() <= 1
}
