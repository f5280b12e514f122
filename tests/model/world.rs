//! The world around the database: replicas with their sessions, and what a replica's program does.
//!
//! Each actor's moves are one `match`, and a comment names the SQL function behind a move. A frozen or dead
//! client makes no move, but what it has sent goes on at the server: that is where zombies come from. Easy to
//! get wrong: a session that is gone takes with it its lock and its open transaction, at once and together; a
//! backend aborts its transaction before it drops its locks (200 of 200 terminations, measured).

use crate::{
    database::{Claim, Database, Outcome, Stop, Token},
    explore::{Kind, Model, Step},
    promises,
    rules::{Broken, Clients, Form, Locks, Mutant, Promise, REPLICAS_MAX, Setup},
};

/// The process that runs a replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Client {
    /// It runs.
    Up,
    /// It stands still, its sockets open. Exits: woken, or for ever.
    Frozen,
    /// It is gone for good; a process started in its place is another replica.
    Dead,
}

/// A claim as its holder knows it, with the step that it does next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Work {
    /// What the claim returned.
    pub token: Token,
    /// The occurrence that the run is for.
    pub occurrence: u8,
    /// The holder's own idea of the cursor.
    pub step: u8,
}

/// Where a replica's program stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum At {
    /// Between two scans.
    Idle,
    /// The scan saw the job due or orphaned at this version.
    Scanned(u8),
    /// `pg_try_advisory_lock` said true; the claim comes next.
    Locked(u8),
    /// It holds a run, at a batch border.
    Border(Work),
    /// A batch was sent and not answered.
    Sent(Work),
    /// Mutant `ProgressApart` only: the batch committed, its cursor is not yet written.
    Unrecorded(Work),
    /// A batch was refused (SX001), or a ping told of it.
    Refused(Token),
}

/// The run session, as the server sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Backend {
    /// There is none.
    Closed,
    /// Idle.
    Open,
    /// The batch's statements run, or have run in an open transaction.
    Working(Work),
    /// The fence has admitted the batch; its lock on the job row is held until COMMIT.
    Fenced(Work),
}

/// One replica with one slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Replica {
    /// The process.
    pub client: Client,
    /// Its program counter.
    pub at: At,
    /// Its run session.
    pub backend: Backend,
    /// The session believes that it holds the job's advisory lock.
    pub locked: bool,
    /// The session is the one in `job.holder_pid`.
    pub holder: bool,
}

const FRESH: Replica =
    Replica { client: Client::Up, at: At::Idle, backend: Backend::Closed, locked: false, holder: false };

impl Replica {
    /// The end of the session: transaction, then locks.
    pub fn close(&mut self) {
        *self = Replica { backend: Backend::Closed, locked: false, holder: false, ..*self };
    }

    /// The run is over on this replica: it closes the session.
    fn leave(&mut self) {
        self.close();
        self.at = At::Idle;
    }
}

/// One state of everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The primary.
    pub database: Database,
    /// What a lagging standby has of it; taken once.
    pub standby: Option<Box<Database>>,
    /// The timeline that the server is on; `database.timeline` is what `meta` says.
    pub timeline: u8,
    /// The database's clock, in instants.
    pub now: u8,
    /// The replicas.
    pub replicas: [Replica; REPLICAS_MAX],
    /// Faults left.
    pub faults: u8,
    /// Verbs left.
    pub verbs: u8,
    /// Ghost: uuids handed out so far; no failover takes them back.
    pub claims: u8,
    /// Ghost: the last (epoch, version) that a claim brought; outside receivers have seen it.
    pub last_token: (u8, u8),
    /// Promises broken on the way here.
    pub broken: Broken,
}

/// The protocol under a setup.
pub struct World(pub Setup);

/// Where transitions are handed to.
pub type Emit<'a> = &'a mut dyn FnMut(Step, State);

impl Model for World {
    type State = State;

    fn initial(&self) -> State {
        State {
            database: Database::new(),
            standby: None,
            timeline: 1,
            now: 1,
            replicas: [FRESH; REPLICAS_MAX],
            faults: self.0.fault_budget,
            verbs: self.0.verb_budget,
            claims: 0,
            last_token: (0, 0),
            broken: Broken::default(),
        }
    }

    fn transitions(&self, state: &State, emit: Emit) {
        let emit: Emit = &mut |step, mut next: State| {
            promises::check(&self.0, &mut next);
            if !next.database.job.running {
                next.replicas.iter_mut().for_each(|replica| replica.holder = false);
            }
            if self.0.mutants.is_empty() {
                next.replicas[..self.0.replicas].sort_unstable();
            }
            emit(step, next);
        };
        for r in 0..self.0.replicas {
            self.client(state, r, emit);
            self.server(state, r, emit);
            self.replica_faults(state, r, emit);
        }
        self.server_faults(state, emit);
        self.operator(state, emit);
        if state.now < self.0.instants {
            emit(outside(0, "the clock moves on"), State { now: state.now + 1, ..state.clone() });
        }
    }

    fn describe(&self, state: &State) -> String {
        let job = &state.database.job;
        let held = if job.running { format!("running run {}", job.run_id) } else { "idle".into() };
        let effects: Vec<_> = state
            .database
            .effects
            .iter()
            .map(|e| format!("{}/{}r{}", e.occurrence, e.step, e.revision))
            .collect();
        format!(
            "v{} {held}, occurrence {}, attempt {}, effects [{}]",
            job.version,
            job.occurrence,
            job.attempt,
            effects.join(" ")
        )
    }
}

/// The replica's program, as long as its process runs.
impl World {
    fn client(&self, state: &State, r: usize, emit: Emit) {
        let replica = state.replicas[r];
        if replica.client != Client::Up {
            return;
        }
        match replica.at {
            At::Idle => self.scan(state, r, emit),
            At::Scanned(version) => self.try_lock(state, r, version, emit),
            At::Locked(_) | At::Border(_) | At::Sent(_) | At::Refused(_) | At::Unrecorded(_)
                if replica.backend == Backend::Closed =>
            {
                self.session_lost(state, r, emit);
            }
            At::Locked(version) => self.claim(state, r, version, emit),
            At::Border(work) => self.border(state, r, work, emit),
            At::Sent(_) => self.answer_or_next_statement(state, r, emit),
            At::Unrecorded(work) => change(state, emit, progress(r, "writes the cursor"), |next| {
                next.database.record_progress(work.token.run_id, work.step);
                next.replicas[r].at = At::Border(work);
            }),
            At::Refused(token) => self.settle_refused(state, r, token, emit),
        }
    }

    /// The due scan and `sexton.orphan`, on the control session: a hint, and all it carries is the version.
    fn scan(&self, state: &State, r: usize, emit: Emit) {
        let job = &state.database.job;
        let seen = state.database.is_due(state.now) || job.running && self.looks_orphaned(state);
        if seen {
            change(state, emit, progress(r, "scan"), |next| next.replicas[r].at = At::Scanned(job.version));
        }
    }

    /// Running, and the session in `holder_pid` does not hold the lock.
    fn looks_orphaned(&self, state: &State) -> bool {
        if self.0.lacks(Mutant::PausedOrphansLeft) && state.database.job.paused {
            return false;
        }
        let blind = self.0.locks == Locks::Absent || self.0.lacks(Mutant::OrphanByAge);
        blind || !state.replicas.iter().any(|replica| replica.holder && replica.locked)
    }

    /// A new run session: timeline compared with `meta`, then `pg_try_advisory_lock`.
    fn try_lock(&self, state: &State, r: usize, version: u8, emit: Emit) {
        let free = self.0.locks != Locks::Session || !state.replicas.iter().any(|replica| replica.locked);
        change(
            state,
            emit,
            progress(r, if free { "connect, lock: true" } else { "connect, lock: false" }),
            |next| {
                self.adopt_timeline(next);
                next.replicas[r].at = if free { At::Locked(version) } else { At::Idle };
                if free {
                    next.replicas[r].backend = Backend::Open;
                    next.replicas[r].locked = self.0.locks != Locks::Absent;
                }
            },
        );
    }

    /// Every connect compares the server's timeline with the one in `meta`; a new one raises the epoch, to the
    /// clock's seconds at least. Here the number of failovers stands for the clock, which none of them sets back.
    fn adopt_timeline(&self, state: &mut State) {
        let meta = &mut state.database;
        if meta.timeline != state.timeline {
            meta.timeline = state.timeline;
            meta.epoch = if self.0.lacks(Mutant::EpochKept) {
                meta.epoch
            } else if self.0.lacks(Mutant::EpochOnlyCounts) {
                meta.epoch + 1
            } else {
                (meta.epoch + 1).max(state.timeline)
            };
        }
    }

    /// `sexton.claim`
    fn claim(&self, state: &State, r: usize, version: u8, emit: Emit) {
        if self.row_is_locked(state) {
            return;
        }
        change(state, emit, progress(r, "claim"), |next| {
            let Claim::Won(token, step) = next.database.claim(&self.0, version, next.claims + 1, next.now)
            else {
                next.replicas[r].leave();
                return;
            };
            next.claims += 1;
            let issued = (next.database.epoch, token.version);
            next.broken.unless(issued > next.last_token, Promise::I5TokensGrow);
            next.last_token = issued;
            promises::check_claim(next);
            for other in &mut next.replicas {
                other.holder = false;
            }
            let occurrence = next.database.job.occurrence;
            next.replicas[r].holder = true;
            next.replicas[r].at = At::Border(Work { token, occurrence, step });
        });
    }

    /// At a batch border: the next batch, a ping, or the finish.
    fn border(&self, state: &State, r: usize, work: Work, emit: Emit) {
        if work.step < self.0.steps {
            change(state, emit, progress(r, "send batch"), |next| {
                next.replicas[r].at = At::Sent(work);
                next.replicas[r].backend = Backend::Working(work);
            });
        } else {
            self.finish(state, r, work.token, Outcome::Succeeded, progress(r, "finish succeeded"), emit);
        }
        if state.database.stop_reason(&self.0, work.token).is_some() {
            change(state, emit, progress(r, "ping: must stop"), |next| {
                next.replicas[r].at = At::Refused(work.token);
            });
        }
    }

    /// A transaction needs its client between its statements; a single statement needs nobody.
    fn answer_or_next_statement(&self, state: &State, r: usize, emit: Emit) {
        match state.replicas[r].backend {
            Backend::Working(work) if self.0.form == Form::Transaction => self.fence(state, r, work, emit),
            Backend::Fenced(work) => self.commit_or_lose_the_answer(state, r, work, "COMMIT", emit),
            _ => {}
        }
    }

    /// The reason decides the outcome; a batch that does not follow the last one (SX004) shows that this replica's
    /// own view is wrong, and it gives the run back. If the row is another's, `finish` is refused in its turn.
    fn settle_refused(&self, state: &State, r: usize, token: Token, emit: Emit) {
        let (outcome, action) = match state.database.stop_reason(&self.0, token) {
            Some(Stop::Cancelled) => (Outcome::Cancelled, "finish cancelled"),
            Some(Stop::Edited) => (Outcome::Superseded, "finish superseded"),
            Some(Stop::Stopped | Stop::Superseded) | None => (Outcome::Released, "finish released"),
        };
        self.finish(state, r, token, outcome, progress(r, action), emit);
    }

    /// `sexton.finish`, then the session is closed, whatever the answer.
    pub fn finish(&self, state: &State, r: usize, token: Token, outcome: Outcome, step: Step, emit: Emit) {
        if self.row_is_locked(state) {
            return;
        }
        change(state, emit, step, |next| {
            let broken = next.database.finish(&self.0, token, outcome, next.now);
            next.broken.merge(broken);
            next.replicas[r].leave();
        });
    }

    /// The session is gone: the run is over here. A stubborn client connects anew, without the lock, and goes on.
    fn session_lost(&self, state: &State, r: usize, emit: Emit) {
        change(state, emit, progress(r, "session lost: gives up"), |next| next.replicas[r].leave());
        if let At::Border(work) | At::Sent(work) = state.replicas[r].at
            && match self.0.clients {
                Clients::Obedient => false,
                Clients::Stubborn => work.step < self.0.steps,
                Clients::Reckless => true,
            }
        {
            change(state, emit, outside(r + 1, "reconnects and goes on"), |next| {
                self.adopt_timeline(next);
                next.replicas[r].at = At::Border(work);
                next.replicas[r].backend = Backend::Open;
            });
        }
    }
}

impl State {
    /// Whether a replica is there to make progress.
    pub fn has_live_replica(&self, setup: &Setup) -> bool {
        self.replicas[..setup.replicas].iter().any(|replica| replica.client == Client::Up)
    }

    /// Whether nothing runs and nothing that may start is left to do.
    pub fn is_at_rest(&self) -> bool {
        !self.database.job.running && !self.database.is_due(self.now)
    }
}

/// A move of a replica, or of its session, that liveness counts on.
pub fn progress(r: usize, action: &'static str) -> Step {
    Step { kind: Kind::Progress, actor: r as u8 + 1, action }
}

/// A move that nobody can count on; `actor` as in [`Step`].
pub fn outside(actor: usize, action: &'static str) -> Step {
    Step { kind: Kind::Outside, actor: actor as u8, action }
}

/// Emits `state` with `act` done to it.
pub fn change(state: &State, emit: Emit, step: Step, act: impl FnOnce(&mut State)) {
    let mut next = state.clone();
    act(&mut next);
    emit(step, next);
}
