//! The protocol as it is: no promise broken in any reachable state, and always a way to the end.
//!
//! Each test is one part of the surroundings with as many faults and verbs as an unoptimised build can bear.
//! Easy to get wrong: adding to one of them multiplies the states of that one; add a test instead.

use crate::{
    explore::{self, Explored},
    rules::{Clients, Fault, Form, Locks, Promise, Setup, VERBS, Verb},
    workers::Workers,
    world::{State, World},
};

const LOSSLESS: &[Fault] = &[
    Fault::Crash,
    Fault::Freeze,
    Fault::Terminate,
    Fault::ReplyLost,
    Fault::BatchError,
    Fault::Restart,
    Fault::Fail,
    Fault::Drain,
];

/// Explores all, asserts that nothing broke and nothing got stuck, prints how much was seen.
fn keeps_all(name: &str, setup: Setup) -> Explored<State> {
    let world = World(setup);
    let (explored, breach) = explore::search(&world, |state| !state.broken.is_safe());
    if let Some(number) = breach {
        let broken = explored.states[number as usize].broken;
        panic!("{name}: {broken:?} after\n{}", explore::print(&world, &explored.history(number)));
    }
    println!("{name}: {} states, no promise broken", explored.states.len());
    always_ends(name, &world, &explored);
    explored
}

/// While one replica lives, a running job comes to idle, and one that nobody paused comes to rest.
fn always_ends(name: &str, world: &World, explored: &Explored<State>) {
    let lives = |state: &State| state.has_live_replica(&world.0);
    let idle = explored.stuck(lives, |state| !state.database.job.running);
    let free = |state: &State| lives(state) && !state.database.is_barred(state.database.claim_mode());
    let rest = explored.stuck(free, State::is_at_rest);
    if let Some(number) = idle.or(rest) {
        panic!("{name}: no way out after\n{}", explore::print(world, &explored.history(number)));
    }
}

#[test]
fn without_faults_no_attempt_is_wasted() {
    let explored = keeps_all("calm, three replicas", Setup { replicas: 3, instants: 4, ..Setup::CALM });
    assert!(explored.states.iter().all(|state| !state.broken.contains(Promise::NoAttemptWasted)));
    assert!(
        explored.states.iter().any(|state| state.database.effects.len() == 8),
        "four occurrences, two steps"
    );
}

#[test]
fn under_two_lossless_faults() {
    keeps_all("two faults", Setup { faults: LOSSLESS, fault_budget: 2, ..Setup::CALM });
}

#[test]
fn under_three_deaths_the_attempts_end() {
    let faults = &[Fault::Crash, Fault::Terminate, Fault::Fail, Fault::Drain];
    keeps_all("three deaths", Setup { faults, fault_budget: 3, instants: 1, ..Setup::CALM });
}

#[test]
fn with_three_replicas_under_a_fault() {
    keeps_all("three replicas", Setup { replicas: 3, faults: LOSSLESS, fault_budget: 1, ..Setup::CALM });
}

#[test]
fn in_transactions_that_a_client_may_freeze_in() {
    let form = Form::Transaction;
    let setup = Setup { form, faults: LOSSLESS, fault_budget: 2, ..Setup::CALM };
    keeps_all("transactions, two faults", setup);
    let setup = Setup { form, faults: &[Fault::Freeze], fault_budget: 1, ..setup };
    keeps_all(
        "transactions, frozen, two verbs",
        Setup { verbs: VERBS, verb_budget: 2, instants: 1, ..setup },
    );
}

#[test]
fn under_every_two_verbs() {
    keeps_all("two verbs", Setup { verbs: VERBS, verb_budget: 2, ..Setup::CALM });
}

#[test]
fn under_every_two_verbs_and_a_death() {
    let faults = &[Fault::Terminate, Fault::Fail];
    let setup = Setup { faults, fault_budget: 1, verbs: VERBS, verb_budget: 2, instants: 1, ..Setup::CALM };
    keeps_all("two verbs and a death", setup);
}

#[test]
fn under_three_of_the_verbs_that_stop_a_run() {
    let verbs = &[Verb::Pause, Verb::Resume, Verb::Disarm, Verb::Arm, Verb::Cancel, Verb::Kill];
    keeps_all("three verbs", Setup { verbs, verb_budget: 3, instants: 1, ..Setup::CALM });
}

#[test]
fn after_failovers_that_lose_commits_with_zombies_that_reconnect() {
    let faults = &[Fault::Failover, Fault::Terminate, Fault::ReplyLost];
    let setup = Setup { clients: Clients::Stubborn, faults, fault_budget: 2, ..Setup::CALM };
    keeps_all("lossy failover, stubborn clients", setup);
    let setup = Setup { faults: &[Fault::Failover], fault_budget: 1, ..setup };
    let verbs = &[Verb::Pause, Verb::Cancel, Verb::Kill, Verb::Apply];
    keeps_all("lossy failover, two verbs", Setup { verbs, verb_budget: 2, instants: 1, ..setup });
}

/// The row decides, the lock only tells whether the holder is still there: without it nothing unsafe happens.
/// What it costs is in `mutants::an_orphan_by_age_costs_attempts`.
#[test]
fn without_any_advisory_lock() {
    let setup = Setup { locks: Locks::Absent, faults: LOSSLESS, fault_budget: 1, ..Setup::CALM };
    keeps_all("no lock", setup);
    let verbs = &[Verb::Kill, Verb::Cancel, Verb::Pause, Verb::Apply];
    keeps_all("no lock, a verb", Setup { faults: &[], verbs, verb_budget: 1, ..setup });
    keeps_all("no lock, transactions", Setup { form: Form::Transaction, faults: &[], ..setup });
}

/// Behind a transaction pooler several clients are told that they hold the lock.
#[test]
fn behind_a_pooler_that_hands_the_lock_to_everybody() {
    let setup = Setup { locks: Locks::Pooled, faults: LOSSLESS, fault_budget: 1, ..Setup::CALM };
    keeps_all("pooled lock", setup);
    let verbs = &[Verb::Kill, Verb::Cancel, Verb::Pause, Verb::Apply];
    let stubborn = Setup { clients: Clients::Stubborn, verbs, verb_budget: 1, instants: 1, ..setup };
    keeps_all("pooled lock, stubborn clients, a verb", stubborn);
}

#[test]
fn with_workers_and_batches_in_flight() {
    for (name, workers) in [
        ("workers, pipelined", Workers::PIPELINED),
        ("workers that resend", Workers { resends: true, ..Workers::PIPELINED }),
    ] {
        let (explored, breach) = explore::search(&workers, |state| !state.broken.is_safe());
        assert_eq!(breach, None, "{name}");
        println!("{name}: {} states, no promise broken", explored.states.len());
        assert_eq!(explored.stuck(|_| true, |state| state.finished), None, "{name}: no way out");
    }
}
