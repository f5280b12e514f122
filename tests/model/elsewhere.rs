//! Work in another database: two rows that no transaction spans, a token that goes from one to the other, and batches
//! that commit in both.
//!
//! One occurrence, run by holders one after the other, each of which may crash or freeze, and either of whose sessions may
//! be lost, at any moment. Easy to get wrong: a COMMIT that was sent takes effect although its client is gone, and a client
//! that is frozen sends it although its session at home is gone.

use crate::{
    explore::{self, Kind, Model, Step},
    rules::{Broken, Promise},
};

const STEPS: u8 = 2;
const HOLDERS: usize = 3;

/// One sentence of the protocol taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// `check` compares nothing.
    Check,
    /// The fence at home locks nothing.
    LockAtHome,
    /// The next holder goes on at the cursor that home knows.
    CursorOfThere,
    /// The next holder records nothing of what it finds there.
    CatchingUp,
    /// Home commits first.
    Order,
    /// The job's lock is not taken there.
    LockThere,
}

/// The surroundings of one exploration.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// Deaths of clients and sessions in one history.
    pub fault_budget: u8,
    /// What is taken away.
    pub missing: &'static [Missing],
}

/// How far a holder is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// It has not claimed the job yet.
    Waiting,
    Claimed,
    Installed,
    /// Between two batches.
    Ready,
    /// The effect stands in the open transaction there.
    Working,
    /// The fence at home has answered, in an open transaction.
    Fenced,
    /// `check` and COMMIT are on their way.
    Sent,
    /// They were answered.
    Answered,
    /// Its client is gone, or has given up; what it sent may be there.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Holder {
    at: At,
    cursor: u8,
    seq: u8,
    /// The session at home is open, and holds the job's lock.
    home: bool,
    /// It share-locks the job's row.
    row: bool,
    /// The session there is open, and holds the job's lock there.
    there: bool,
    /// A COMMIT is on its way there.
    in_flight: bool,
}

const WAITING: Holder =
    Holder { at: At::Waiting, cursor: 0, seq: 0, home: false, row: false, there: false, in_flight: false };

/// One state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Whose run the job row carries; `HOLDERS` if nobody has claimed yet.
    owner: usize,
    paused: bool,
    /// The run ended `succeeded`.
    finished: bool,
    /// Batches that home records of each run, and the cursor of the last.
    recorded: [u8; HOLDERS],
    cursor: u8,
    /// Whose token is there.
    token: Option<usize>,
    /// Of the last batch there: its run, that run's batches until then, the cursor.
    last: Option<(usize, u8, u8)>,
    /// How often each step took effect there.
    effects: [u8; STEPS as usize],
    holders: [Holder; HOLDERS],
    faults: u8,
    /// Promises broken on the way here.
    pub broken: Broken,
}

type Emit<'a> = &'a mut dyn FnMut(Step, State);

impl Model for Elsewhere {
    type State = State;

    fn initial(&self) -> State {
        State {
            owner: HOLDERS,
            paused: false,
            finished: false,
            recorded: [0; HOLDERS],
            cursor: 0,
            token: None,
            last: None,
            effects: [0; STEPS as usize],
            holders: [WAITING; HOLDERS],
            faults: self.fault_budget,
            broken: Broken::default(),
        }
    }

    fn transitions(&self, state: &State, emit: Emit) {
        for who in 0..HOLDERS {
            self.client(state, who, emit);
            self.servers(state, who, emit);
            if state.faults > 0 {
                faults(state, who, emit);
            }
        }
        if !state.paused && row_is_free(state) {
            change(state, emit, Kind::Outside, 0, "pause returns", |next| next.paused = true);
        }
    }

    fn describe(&self, state: &State) -> String {
        let holders: Vec<At> = state.holders.iter().map(|holder| holder.at).collect();
        format!(
            "token {:?}, effects {:?}, recorded {:?}, {holders:?}",
            state.token, state.effects, state.recorded
        )
    }
}

impl Elsewhere {
    fn lacks(&self, missing: Missing) -> bool {
        self.missing.contains(&missing)
    }

    /// What a holder's client does next.
    fn client(&self, state: &State, who: usize, emit: Emit) {
        let holder = state.holders[who];
        let holds = state.owner == who && holder.home && !state.paused && !state.finished;
        let mut step =
            |action, act: &dyn Fn(&mut State)| change(state, emit, Kind::Progress, who + 1, action, act);
        let gives_up = |next: &mut State| next.holders[who].at = At::Over;
        match holder.at {
            At::Waiting if may_claim(state, who) => step("claims", &|next| {
                next.owner = who;
                next.holders[who] = Holder { at: At::Claimed, cursor: state.cursor, home: true, ..WAITING };
            }),
            At::Claimed if state.token > Some(who) => step("is not let in there", &gives_up),
            At::Claimed if self.lock_there_is_free(state) => {
                step("takes the lock there, installs its token", &|next| {
                    next.token = Some(who);
                    next.holders[who] = Holder { at: At::Installed, there: true, ..next.holders[who] };
                });
            }
            At::Installed if holds => step("catches up", &|next| self.catch_up(next, who)),
            At::Ready if holder.cursor == STEPS && holds => step("finish succeeded", &|next| {
                next.finished = true;
                next.broken.unless(next.effects == [1; STEPS as usize], Promise::I2EachStepOnce);
                next.broken.unless(next.recorded.iter().sum::<u8>() == STEPS, Promise::I4EffectIsProgress);
            }),
            At::Ready if holder.cursor < STEPS && holder.there => step("begins a batch there", &|next| {
                let beside =
                    |other: &Holder| other.there && matches!(other.at, At::Working | At::Fenced | At::Sent);
                let alone = !next.holders.iter().any(beside);
                next.broken.unless(alone || self.lacks(Missing::LockThere), Promise::G5NoOverlap);
                next.holders[who].at = At::Working;
            }),
            At::Working if holds && holder.there => step("is fenced at home", &|next| {
                next.holders[who].row = !self.lacks(Missing::LockAtHome);
                next.holders[who].at = At::Fenced;
                if self.lacks(Missing::Order) {
                    record(next, who);
                }
            }),
            At::Fenced => step("sends check and COMMIT", &|next| {
                next.holders[who].in_flight = next.holders[who].there;
                next.holders[who].at = At::Sent;
            }),
            At::Sent if !holder.there => step("finds its session there gone", &gives_up),
            At::Answered if holder.home => step("commits at home", &|next| {
                if !self.lacks(Missing::Order) {
                    record(next, who);
                }
                let holder = &mut next.holders[who];
                *holder = Holder {
                    at: At::Ready,
                    cursor: holder.cursor + 1,
                    seq: holder.seq + 1,
                    row: false,
                    ..*holder
                };
            }),
            At::Installed | At::Ready | At::Working | At::Answered => step("must stop", &gives_up),
            At::Waiting | At::Claimed | At::Sent | At::Over => {}
        }
    }

    /// What the two servers do about it.
    fn servers(&self, state: &State, who: usize, emit: Emit) {
        let holder = state.holders[who];
        if holder.in_flight && holder.there {
            let passes = state.token == Some(who) || self.lacks(Missing::Check);
            let action = if passes { "its batch commits there" } else { "its batch is refused there" };
            change(state, emit, Kind::Progress, who + 1, action, |next| self.commit(next, who, passes));
        }
        if holder.at == At::Over && holder.home {
            change(state, emit, Kind::Progress, who + 1, "its session at home ends", |next| {
                end_home(next, who)
            });
        }
        if holder.at == At::Over && holder.there {
            change(state, emit, Kind::Progress, who + 1, "its session there ends", |next| {
                end_there(next, who)
            });
        }
    }

    fn commit(&self, next: &mut State, who: usize, passes: bool) {
        let holder = &mut next.holders[who];
        holder.in_flight = false;
        if !passes {
            holder.at = At::Over;
            return;
        }
        if holder.at == At::Sent {
            holder.at = At::Answered;
        }
        let Holder { cursor, seq, home, .. } = *holder;
        next.last = Some((who, seq + 1, cursor + 1));
        next.effects[usize::from(cursor)] += 1;
        next.broken.unless(next.token == Some(who), Promise::I1NoSupersededCommit);
        next.broken.unless(next.effects.iter().all(|count| *count <= 1), Promise::I2EachStepOnce);
        // A session at home that is lost unlocks the row: the one exception.
        next.broken.unless(!next.paused || !home, Promise::G9VerbsAreBarriers);
    }

    fn catch_up(&self, next: &mut State, who: usize) {
        next.holders[who].at = At::Ready;
        let Some((run, seq, cursor)) = next.last else {
            next.holders[who].cursor = if self.lacks(Missing::CursorOfThere) { next.cursor } else { 0 };
            return;
        };
        if !self.lacks(Missing::CatchingUp) {
            next.recorded[run] = next.recorded[run].max(seq);
        }
        if !self.lacks(Missing::CursorOfThere) {
            next.holders[who].cursor = cursor;
        }
    }

    fn lock_there_is_free(&self, state: &State) -> bool {
        self.lacks(Missing::LockThere) || !state.holders.iter().any(|holder| holder.there)
    }
}

/// The next holder, once the session of the last one is gone and nobody keeps the row.
fn may_claim(state: &State, who: usize) -> bool {
    let follows = if state.owner == HOLDERS { who == 0 } else { who == state.owner + 1 };
    let orphaned = state.owner == HOLDERS || !state.holders[state.owner].home;
    follows && orphaned && row_is_free(state) && !state.paused && !state.finished
}

fn row_is_free(state: &State) -> bool {
    !state.holders.iter().any(|holder| holder.row)
}

fn record(next: &mut State, who: usize) {
    next.recorded[who] += 1;
    next.cursor = next.holders[who].cursor + 1;
}

fn end_home(next: &mut State, who: usize) {
    next.holders[who].home = false;
    next.holders[who].row = false;
}

fn end_there(next: &mut State, who: usize) {
    next.holders[who].there = false;
    next.holders[who].in_flight = false;
}

/// Each may be lost without its client's knowing, and the client without its sessions.
fn faults(state: &State, who: usize, emit: Emit) {
    let holder = state.holders[who];
    if matches!(holder.at, At::Waiting | At::Over) {
        return;
    }
    let mut lose = |action, act: &dyn Fn(&mut State)| {
        change(state, emit, Kind::Outside, who + 1, action, |next| {
            next.faults -= 1;
            act(next);
        });
    };
    lose("its process dies", &|next| next.holders[who].at = At::Over);
    if holder.home {
        lose("its session at home is lost", &|next| end_home(next, who));
    }
    if holder.there {
        lose("its session there is lost", &|next| end_there(next, who));
    }
}

fn change(
    state: &State,
    emit: Emit,
    kind: Kind,
    actor: usize,
    action: &'static str,
    act: impl FnOnce(&mut State),
) {
    let mut next = state.clone();
    act(&mut next);
    emit(Step { kind, actor: actor as u8, action }, next);
}

const FAULTY: Elsewhere = Elsewhere { fault_budget: 2, missing: &[] };

#[test]
fn a_batch_in_two_databases_keeps_its_promises() {
    for missing in [&[] as &[_], &[Missing::LockThere]] {
        let model = Elsewhere { missing, ..FAULTY };
        let (explored, breach) = explore::search(&model, |state| !state.broken.is_safe());
        if let Some(number) = breach {
            panic!("{missing:?} after\n{}", explore::print(&model, &explored.history(number)));
        }
        println!("without {missing:?}: {} states, no promise broken", explored.states.len());
        let stuck = explored.stuck(|_| true, |state| state.finished || state.paused);
        let history = stuck.map(|number| explore::print(&model, &explored.history(number)));
        assert_eq!(history, None, "no way out");
    }
}

/// The shortest history that breaks the promise, printed.
fn breaks(promise: Promise, missing: &'static [Missing]) {
    let model = Elsewhere { missing, ..FAULTY };
    let (explored, found) = explore::search(&model, |state| state.broken.contains(promise));
    let number =
        found.unwrap_or_else(|| panic!("without {missing:?} it keeps {promise:?}: the model is blind"));
    println!("without {missing:?}: {promise:?}\n{}", explore::print(&model, &explored.history(number)));
}

#[test]
fn each_sentence_of_it_is_needed() {
    breaks(Promise::G9VerbsAreBarriers, &[Missing::LockAtHome]);
    breaks(Promise::I2EachStepOnce, &[Missing::CursorOfThere]);
    breaks(Promise::I4EffectIsProgress, &[Missing::CatchingUp]);
    breaks(Promise::I4EffectIsProgress, &[Missing::Order]);
}

/// The session lock there keeps two holders apart as long as it is there; the check does where it is not.
#[test]
fn the_check_is_what_does_not_lean_on_the_lock() {
    breaks(Promise::I1NoSupersededCommit, &[Missing::Check, Missing::LockThere]);
    breaks(Promise::I2EachStepOnce, &[Missing::Check, Missing::LockThere]);
}
