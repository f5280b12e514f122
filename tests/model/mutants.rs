//! One sentence of the protocol taken away at a time, and the promise that breaks.
//!
//! A mutant that is not caught says that either the sentence is needless or the model is blind; the tests at the
//! end are of the first sort and say why. The surroundings are the smallest in which the breach shows, so that
//! the printed history is short enough to be read.

use crate::{
    explore::{self, Model},
    rules::{Clients, Fault, Form, Locks, Mutant, Promise, Setup, Verb},
    workers::Workers,
    world::World,
};

/// The setup breaks `promise`; prints the shortest history.
fn breaks(promise: Promise, setup: Setup) {
    let world = World(setup);
    let (explored, found) = explore::search(&world, |state| state.broken.contains(promise));
    let number = found.unwrap_or_else(|| panic!("{:?} keeps {promise:?}: the model is blind", setup.mutants));
    report(&world, &format!("{:?} breaks {promise:?}", setup.mutants), &explored, number);
}

/// The setup is safe all the same.
fn is_harmless(setup: Setup) {
    let world = World(setup);
    let (explored, found) = explore::search(&world, |state| !state.broken.is_safe());
    if let Some(number) = found {
        panic!("{:?} after\n{}", setup.mutants, explore::print(&world, &explored.history(number)));
    }
    println!("{:?} is harmless here: {} states", setup.mutants, explored.states.len());
}

fn report<M: Model>(model: &M, title: &str, explored: &explore::Explored<M::State>, number: u32) {
    let history = explored.history(number);
    assert!(!history.is_empty(), "{title}: broken from the start");
    println!("{title}, in {} steps:\n{}", history.len(), explore::print(model, &history));
}

const NO_LOCK: Setup = Setup { locks: Locks::Absent, ..Setup::CALM };

#[test]
fn without_the_fence_a_superseded_holder_commits() {
    breaks(Promise::I1NoSupersededCommit, Setup { mutants: &[Mutant::FenceOff], ..NO_LOCK });
    breaks(Promise::I2EachStepOnce, Setup { mutants: &[Mutant::FenceOff], ..NO_LOCK });
    let verbs = &[Verb::Kill];
    let killed = Setup { mutants: &[Mutant::FenceOff], verbs, verb_budget: 1, ..Setup::CALM };
    breaks(Promise::G9VerbsAreBarriers, killed);
}

/// Not a mutant but a rule for clients: the fence guards batches also from one that reconnects and goes on, but
/// `finish` takes a holder's word that all its batches are there. Where a failover took back the last of them and
/// not the claim, that word is wrong; hence "session lost, run over" is a rule of safety too.
#[test]
fn a_client_that_reconnects_to_finish_claims_what_a_failover_took_back() {
    let setup = Setup { faults: &[Fault::Failover], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I2EachStepOnce, Setup { clients: Clients::Reckless, ..setup });
    is_harmless(Setup { clients: Clients::Stubborn, ..setup });
    is_harmless(setup);
}

/// Check and commit are two moments, and whoever changes the row in between is not waited for. The progress row
/// does not help: neither a verb nor a takeover writes it.
#[test]
fn a_fence_that_does_not_lock_the_row_is_none() {
    for mutants in [&[Mutant::FencePlainSelect] as &[_], &[Mutant::FenceKeyShare]] {
        let form = Form::Transaction;
        breaks(Promise::I1NoSupersededCommit, Setup { form, mutants, ..NO_LOCK });
        let verbs = &[Verb::Cancel, Verb::Kill, Verb::Apply, Verb::Pause];
        breaks(Promise::G9VerbsAreBarriers, Setup { form, mutants, verbs, verb_budget: 1, ..Setup::CALM });
    }
}

#[test]
fn a_version_alone_is_handed_out_twice_after_a_lossy_failover() {
    let setup =
        Setup { clients: Clients::Stubborn, faults: &[Fault::Failover], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I1NoSupersededCommit, Setup { mutants: &[Mutant::FenceByVersion], ..setup });
}

#[test]
fn without_an_epoch_outside_tokens_repeat_after_a_lossy_failover() {
    let setup = Setup { faults: &[Fault::Failover], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I5TokensGrow, Setup { mutants: &[Mutant::EpochKept], ..setup });
}

/// The second standby was behind the first failover too, and so counts to the same number.
#[test]
fn an_epoch_that_only_counts_repeats_after_two_lossy_failovers() {
    let setup = Setup { faults: &[Fault::Failover], fault_budget: 2, ..Setup::CALM };
    breaks(Promise::I5TokensGrow, Setup { mutants: &[Mutant::EpochOnlyCounts], ..setup });
}

#[test]
fn a_claim_without_compare_and_swap_issues_a_version_twice() {
    breaks(Promise::I5TokensGrow, Setup { mutants: &[Mutant::ClaimBlind], ..Setup::CALM });
}

#[test]
fn a_finish_without_its_token_ends_the_run_of_another() {
    breaks(Promise::I1NoSupersededCommit, Setup { mutants: &[Mutant::FinishUnchecked], ..NO_LOCK });
    let setup =
        Setup { clients: Clients::Stubborn, faults: &[Fault::Terminate], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I1NoSupersededCommit, Setup { mutants: &[Mutant::FinishUnchecked], ..setup });
}

#[test]
fn a_kill_that_moves_the_occurrence_loses_it() {
    let setup = Setup { verbs: &[Verb::Kill], verb_budget: 1, ..Setup::CALM };
    breaks(Promise::I3NoOccurrenceLost, Setup { mutants: &[Mutant::DueAtIsIdentity], ..setup });
}

#[test]
fn progress_outside_the_transaction_repeats_a_step() {
    let setup = Setup { faults: &[Fault::Terminate], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I2EachStepOnce, Setup { mutants: &[Mutant::ProgressApart], ..setup });
    breaks(Promise::I4EffectIsProgress, Setup { mutants: &[Mutant::ProgressApart], ..setup });
}

/// The seq refuses a batch after a gap, but no batch follows the last one: the answer has to be read.
#[test]
fn a_commit_whose_answer_is_trusted_steps_over_a_batch() {
    let form = Form::Transaction;
    let setup = Setup { form, faults: &[Fault::BatchError], fault_budget: 1, ..Setup::CALM };
    breaks(Promise::I2EachStepOnce, Setup { mutants: &[Mutant::CommitTrusted], ..setup });
    let mutants = &[Mutant::CommitTrusted, Mutant::FenceIgnoresSeq];
    breaks(Promise::I4EffectIsProgress, Setup { mutants, ..setup });
}

#[test]
fn crashes_that_are_not_counted_go_on_for_ever() {
    let setup = Setup { faults: &[Fault::Terminate], fault_budget: 2, ..Setup::CALM };
    breaks(Promise::I5AttemptsEnd, Setup { mutants: &[Mutant::CrashesUncounted], ..setup });
}

#[test]
fn a_cancel_forgotten_dies_with_its_holder() {
    let setup = Setup { verbs: &[Verb::Cancel], verb_budget: 1, ..Setup::CALM };
    for fault in [&[Fault::Terminate] as &[_], &[Fault::Fail], &[Fault::Drain]] {
        let setup = Setup { faults: fault, fault_budget: 1, ..setup };
        breaks(Promise::CancelOutlivesHolder, Setup { mutants: &[Mutant::CancelForgotten], ..setup });
    }
}

#[test]
fn a_run_now_forgotten_is_lost_when_the_run_comes_back() {
    let setup = Setup { verbs: &[Verb::RunNow], verb_budget: 1, ..Setup::CALM };
    for fault in [&[Fault::Fail] as &[_], &[Fault::Drain]] {
        let setup = Setup { faults: fault, fault_budget: 1, ..setup };
        breaks(Promise::I3NoOccurrenceLost, Setup { mutants: &[Mutant::RerunForgotten], ..setup });
    }
}

#[test]
fn a_cursor_of_another_revision_or_mode_leaves_steps_out() {
    let edited = Setup { verbs: &[Verb::Apply], verb_budget: 1, ..Setup::CALM };
    let mutants = &[Mutant::CursorAcrossRevisions];
    breaks(Promise::I2EachStepOnce, Setup { mutants, ..edited });
    breaks(Promise::CursorStaysInRevision, Setup { mutants, ..edited });
    let disarmed = Setup { verbs: &[Verb::Disarm, Verb::Arm], verb_budget: 2, ..Setup::CALM };
    let disarmed = Setup { faults: &[Fault::Drain], fault_budget: 1, ..disarmed };
    breaks(Promise::I2EachStepOnce, Setup { mutants: &[Mutant::CursorAcrossModes], ..disarmed });
}

#[test]
fn a_verb_that_the_fence_does_not_look_at_is_no_barrier() {
    for (mutants, verb) in [
        (&[Mutant::FenceIgnoresPause] as &[_], &[Verb::Pause] as &[_]),
        (&[Mutant::FenceIgnoresPause], &[Verb::PauseAll]),
        (&[Mutant::FenceIgnoresCancel], &[Verb::Cancel]),
        (&[Mutant::FenceIgnoresRevision], &[Verb::Apply]),
        (&[Mutant::FenceIgnoresArming], &[Verb::Disarm]),
    ] {
        breaks(Promise::G9VerbsAreBarriers, Setup { mutants, verbs: verb, verb_budget: 1, ..Setup::CALM });
    }
}

/// Not a breach of safety: nothing ever ends the run, since nobody is told of it.
#[test]
fn an_orphan_of_a_paused_job_passed_over_runs_for_ever() {
    let world = World(Setup {
        faults: &[Fault::Terminate],
        fault_budget: 1,
        verbs: &[Verb::Pause],
        verb_budget: 1,
        mutants: &[Mutant::PausedOrphansLeft],
        ..Setup::CALM
    });
    let (explored, _) = explore::search(&world, |_| false);
    let stuck = explored.stuck(|state| state.has_live_replica(&world.0), |state| !state.database.job.running);
    report(&world, "[PausedOrphansLeft] never ends", &explored, stuck.expect("the model is blind"));
}

fn workers_break(promise: Promise, workers: Workers) {
    let (explored, found) = explore::search(&workers, |state| state.broken.contains(promise));
    let number = found.unwrap_or_else(|| panic!("{workers:?} keeps {promise:?}: the model is blind"));
    report(&workers, &format!("workers: {:?} breaks {promise:?}", workers.mutants), &explored, number);
}

#[test]
fn two_batches_in_flight_without_seq_leave_a_gap() {
    let mutants = &[Mutant::FenceIgnoresSeq];
    workers_break(Promise::I2EachStepOnce, Workers { takeover: false, mutants, ..Workers::PIPELINED });
}

#[test]
fn workers_without_seq_repeat_what_they_had_no_answer_to() {
    let mutants = &[Mutant::FenceIgnoresSeq];
    let single = Workers { depth: 1, takeover: false, resends: true, mutants, ..Workers::PIPELINED };
    workers_break(Promise::I2EachStepOnce, single);
}

#[test]
fn workers_that_share_a_progress_row_lose_steps() {
    let mutants = &[Mutant::OneRowForAllWorkers, Mutant::FenceIgnoresSeq];
    let single = Workers { depth: 1, fault_budget: 0, mutants, ..Workers::PIPELINED };
    workers_break(Promise::I2EachStepOnce, single);
}

#[test]
fn workers_without_the_second_key_overlap_with_the_next_holder() {
    workers_break(
        Promise::G5NoOverlap,
        Workers { fault_budget: 0, mutants: &[Mutant::WorkersWithoutKey], ..Workers::PIPELINED },
    );
}

/// Its process was frozen between the claim and the worker's first session, and wakes up after the takeover.
#[test]
fn a_worker_that_has_the_key_and_does_not_ask_overlaps_with_the_next_holder() {
    workers_break(
        Promise::G5NoOverlap,
        Workers { fault_budget: 0, mutants: &[Mutant::WorkersJoinUnasked], ..Workers::PIPELINED },
    );
}

/// By age a slow holder is as good as dead. While the lock is taken as well, `pg_try_advisory_lock` says no;
/// without it the takeover is safe by the fence, and costs an attempt though nothing failed. With neither, it is
/// the usual lease without a fencing token.
#[test]
fn an_orphan_by_age_costs_attempts() {
    let mutants = &[Mutant::OrphanByAge];
    is_harmless(Setup { mutants, faults: &[Fault::Crash, Fault::Freeze], fault_budget: 2, ..Setup::CALM });
    is_harmless(Setup { mutants, ..NO_LOCK });
    breaks(Promise::NoAttemptWasted, Setup { mutants, ..NO_LOCK });
    let mutants = &[Mutant::OrphanByAge, Mutant::FenceOff];
    breaks(Promise::I1NoSupersededCommit, Setup { mutants, ..NO_LOCK });
}

/// Under the row's lock, state, due time and the job's lock are all looked at again, which on a direct connection
/// says as much as the version. Behind a pooler everybody has the lock, and a claim by a stale scan takes a run
/// from a holder that is alive.
#[test]
fn a_claim_that_compares_nothing_leans_on_the_lock() {
    let mutants = &[Mutant::ClaimUncompared];
    let setup = Setup { mutants, faults: &[Fault::Crash, Fault::Freeze], fault_budget: 2, ..Setup::CALM };
    is_harmless(setup);
    let pooled = Setup { mutants, locks: Locks::Pooled, ..Setup::CALM };
    is_harmless(pooled);
    breaks(Promise::NoAttemptWasted, pooled);
}

/// One batch in flight, and a client that drops its session with the answer, never sends a step twice.
#[test]
fn seq_is_needless_for_one_batch_in_flight_and_obedient_clients() {
    let mutants = &[Mutant::FenceIgnoresSeq];
    let faults = &[Fault::ReplyLost, Fault::BatchError, Fault::Terminate];
    let setup = Setup { mutants, faults, fault_budget: 2, ..Setup::CALM };
    is_harmless(setup);
    breaks(Promise::I2EachStepOnce, Setup { clients: Clients::Stubborn, ..setup });
}
