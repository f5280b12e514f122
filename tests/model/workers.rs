//! Several workers in one run, each with several batches in flight: what part and seq in the fence are for.
//!
//! One takeover of one run, everything else (verbs, retries, failover) is `world`. Each worker walks its own
//! part over its own session, which takes the second key and then asks whether its run still holds the job; it
//! sends batches without waiting for answers, and the server takes those of one session in their order. Easy to get wrong: a batch that fails does not hold back the one sent after it.

use crate::{
    explore::{Kind, Model, Step},
    rules::{Broken, Mutant, Promise},
};

const PARTS: usize = 2;
const STEPS: usize = 2;
const HOLDERS: usize = 2;

/// The surroundings of one exploration.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// Batches that a worker may have in flight; 1 is no pipeline.
    pub depth: usize,
    /// Batch errors and lost answers in one history.
    pub fault_budget: u8,
    /// After a lost answer a worker resends what it had no answer to, instead of reading its part anew.
    pub resends: bool,
    /// The holder's main session may die, and a second replica takes over.
    pub takeover: bool,
    /// What is taken away.
    pub mutants: &'static [Mutant],
}

impl Workers {
    /// Two workers with two batches in flight and a takeover.
    pub const PIPELINED: Workers =
        Workers { depth: 2, fault_budget: 2, resends: false, takeover: true, mutants: &[] };

    fn lacks(&self, mutant: Mutant) -> bool {
        self.mutants.contains(&mutant)
    }
}

/// One worker's session and what its client believes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Worker {
    /// The session is open and holds the second key shared.
    open: bool,
    /// It has asked, with the key in its hands, whether its run holds the job.
    asked: bool,
    /// Steps in flight, oldest first.
    flight: Vec<u8>,
    /// The step that it sends next.
    next: u8,
    /// An answer was an error: it waits for the rest, then starts from what its part says.
    failed: bool,
    /// It was told that its run is over.
    turned_away: bool,
}

/// Which session holds the job's lock: the first holder's, none, the second holder's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holder {
    /// As claimed first.
    First,
    /// The main session died; the first holder's workers do not know yet.
    Gone,
    /// Taken over.
    Second,
}

/// One state.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// Whose the lock is.
    holder: Holder,
    /// Whose run the job row carries: 0 or 1.
    owner: usize,
    /// The run ended `succeeded`.
    pub finished: bool,
    /// `run_part.seq` of each part; with the mutant, all read and write the first.
    parts: [u8; PARTS],
    /// How often each step of each part took effect.
    effects: [[u8; STEPS]; PARTS],
    workers: [[Worker; PARTS]; HOLDERS],
    faults: u8,
    /// Promises broken on the way here.
    pub broken: Broken,
}

type Emit<'a> = &'a mut dyn FnMut(Step, State);

impl Model for Workers {
    type State = State;

    fn initial(&self) -> State {
        State {
            holder: Holder::First,
            owner: 0,
            finished: false,
            parts: [0; PARTS],
            effects: [[0; STEPS]; PARTS],
            workers: Default::default(),
            faults: self.fault_budget,
            broken: Broken::default(),
        }
    }

    fn transitions(&self, state: &State, emit: Emit) {
        for holder in 0..HOLDERS {
            for part in 0..PARTS {
                self.worker(state, holder, part, emit);
                self.server(state, holder, part, emit);
            }
        }
        self.holder(state, emit);
    }

    fn describe(&self, state: &State) -> String {
        let flight = |holder: usize| [&state.workers[holder][0].flight, &state.workers[holder][1].flight];
        format!("seq {:?}, effects {:?}, in flight {:?}", state.parts, state.effects, flight(state.owner))
    }
}

impl Workers {
    /// A worker's client: send on while there is room; after an error, wait for the answers and read the part.
    fn worker(&self, state: &State, holder: usize, part: usize, emit: Emit) {
        let worker = &state.workers[holder][part];
        let row = self.row_of(part);
        let edit = |state: &State, emit: Emit, action, act: &dyn Fn(&mut Worker)| {
            change(state, emit, progress(part, action), |next| act(&mut next.workers[holder][part]));
        };
        match (worker.open, worker.failed) {
            (true, _) if !worker.asked => self.ask(state, holder, part, emit),
            (true, false) if worker.flight.len() < self.depth && usize::from(worker.next) < STEPS => {
                change(state, emit, progress(part, "sends a batch"), |next| {
                    let beside_another = holder == 0 && state.holder == Holder::Second;
                    next.broken.unless(!beside_another, Promise::G5NoOverlap);
                    let worker = &mut next.workers[holder][part];
                    worker.flight.push(worker.next);
                    worker.next += 1;
                });
            }
            (true, true) if worker.flight.is_empty() => {
                edit(state, emit, "reads its part", &|worker| {
                    *worker = Worker { next: state.parts[row], failed: false, ..worker.clone() };
                });
            }
            // Its process may have been frozen meanwhile, and know nothing of what happened to its run.
            (false, _) if self.may_connect(state, holder) => {
                edit(state, emit, "connects, takes the second key", &|worker| worker.open = true);
            }
            _ => {}
        }
    }

    /// The first holder's workers connect at any time, also after the takeover; the second's once it is the holder.
    /// Not while a claim has the key: that is one step here.
    fn may_connect(&self, state: &State, holder: usize) -> bool {
        let knows_better = holder == 0 && state.workers[0].iter().any(|worker| worker.turned_away);
        !knows_better && (holder == 0 || state.owner == holder)
    }

    /// `sexton.join_run`, its second half: with the key in its hands, the worker asks.
    fn ask(&self, state: &State, holder: usize, part: usize, emit: Emit) {
        let welcome = (holder == state.owner && !state.finished) || self.lacks(Mutant::WorkersJoinUnasked);
        let (resends, row) = (self.resends, self.row_of(part));
        change(state, emit, progress(part, if welcome { "is let in" } else { "is turned away" }), |next| {
            let worker = &mut next.workers[holder][part];
            *worker = match welcome {
                true if worker.failed && resends => Worker { asked: true, failed: false, ..worker.clone() },
                true => Worker { open: true, asked: true, next: state.parts[row], ..Worker::default() },
                false => Worker { turned_away: true, ..Worker::default() },
            };
        });
    }

    /// The server takes the oldest batch in flight: `sexton.fence(…, part, seq, …)`, then commit.
    fn server(&self, state: &State, holder: usize, part: usize, emit: Emit) {
        let worker = &state.workers[holder][part];
        let (true, Some(&step)) = (worker.open, worker.flight.first()) else { return };
        let seq = state.parts[self.row_of(part)] == step || self.lacks(Mutant::FenceIgnoresSeq);
        let admitted = holder == state.owner && !state.finished && seq;
        let answer = if admitted { "batch committed" } else { "batch refused" };
        change(state, emit, progress(part, answer), |next| {
            next.workers[holder][part].flight.remove(0);
            next.workers[holder][part].failed |= !admitted;
            if admitted {
                self.commit(next, part, step);
            }
        });
        if state.faults > 0 {
            self.faults(state, holder, part, step, admitted, emit);
        }
    }

    fn faults(&self, state: &State, holder: usize, part: usize, step: u8, admitted: bool, emit: Emit) {
        change(state, emit, outside(part, "batch rolled back: try again"), |next| {
            next.faults -= 1;
            next.workers[holder][part].flight.remove(0);
            next.workers[holder][part].failed = true;
        });
        if admitted {
            change(state, emit, outside(part, "committed, the answer is lost"), |next| {
                next.faults -= 1;
                self.commit(next, part, step);
                next.workers[holder][part] = Worker { next: step, failed: true, ..Worker::default() };
            });
        }
    }

    fn commit(&self, next: &mut State, part: usize, step: u8) {
        next.effects[part][usize::from(step)] += 1;
        next.parts[self.row_of(part)] = step + 1;
        let once = next.effects[part].iter().all(|&count| count <= 1);
        let no_gap = next.effects[part].is_sorted_by(|earlier, later| earlier >= later);
        next.broken.unless(once && no_gap, Promise::I2EachStepOnce);
    }

    fn row_of(&self, part: usize) -> usize {
        if self.lacks(Mutant::OneRowForAllWorkers) { 0 } else { part }
    }

    /// The main session: finish, its death, the end of the sessions that it leaves behind, the takeover.
    fn holder(&self, state: &State, emit: Emit) {
        let workers = &state.workers[state.owner];
        let done =
            |worker: &Worker| worker.flight.is_empty() && !worker.failed && usize::from(worker.next) == STEPS;
        match state.holder {
            Holder::First | Holder::Second if !state.finished && workers.iter().all(done) => {
                change(state, emit, progress_of_holder("finish succeeded"), |next| {
                    next.finished = true;
                    let complete = next.effects.iter().flatten().all(|&count| count == 1);
                    next.broken.unless(complete, Promise::I2EachStepOnce);
                });
            }
            Holder::Gone => {
                self.end_worker_sessions(state, emit);
                self.claim(state, emit);
            }
            Holder::First | Holder::Second => {}
        }
        if self.takeover && state.holder == Holder::First && !state.finished {
            let dies = Step { kind: Kind::Outside, actor: 0, action: "the main session dies" };
            change(state, emit, dies, |next| next.holder = Holder::Gone);
        }
    }

    fn end_worker_sessions(&self, state: &State, emit: Emit) {
        for part in 0..PARTS {
            if state.workers[0][part].open {
                change(state, emit, progress(part, "the server ends its session"), |next| {
                    next.workers[0][part] = Worker::default();
                });
            }
        }
    }

    /// `sexton.claim` by another replica: the job's lock, and the second key exclusively, which waits for the
    /// sessions of the workers. Each part goes on at its own row.
    fn claim(&self, state: &State, emit: Emit) {
        let key_is_free = state.workers[0].iter().all(|worker| !worker.open);
        if !key_is_free && !self.lacks(Mutant::WorkersWithoutKey) {
            return;
        }
        change(state, emit, progress_of_holder("takeover"), |next| {
            let at_work = next.workers[0].iter().any(|worker| worker.open && !worker.flight.is_empty());
            next.broken.unless(!at_work, Promise::G5NoOverlap);
            next.holder = Holder::Second;
            next.owner = 1;
            for part in 0..PARTS {
                let at = state.parts[self.row_of(part)];
                next.workers[1][part] = Worker { next: at, ..Worker::default() };
            }
        });
    }
}

fn progress(part: usize, action: &'static str) -> Step {
    Step { kind: Kind::Progress, actor: part as u8 + 1, action }
}

fn progress_of_holder(action: &'static str) -> Step {
    Step { kind: Kind::Progress, actor: 0, action }
}

fn outside(part: usize, action: &'static str) -> Step {
    Step { kind: Kind::Outside, actor: part as u8 + 1, action }
}

fn change(state: &State, emit: Emit, step: Step, act: impl FnOnce(&mut State)) {
    let mut next = state.clone();
    act(&mut next);
    emit(step, next);
}
