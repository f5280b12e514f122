//! What may be varied: the surroundings of one exploration, the mutants of the protocol, the promises.
//!
//! Nothing here moves. A [`Setup`] without mutants *is* the protocol; a [`Mutant`] is one sentence of it taken
//! away. Easy to get wrong: a bound that is too small makes every promise true. Hence each mutant must be
//! caught within bounds no larger than those under which the protocol is explored.

/// The most replicas that a setup may have; sizes the array in the state.
pub const REPLICAS_MAX: usize = 3;

/// How the job's advisory lock behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locks {
    /// As on a direct connection: one session holds it and it dies with that session.
    Session,
    /// As behind a transaction pooler: several clients share the backend that holds it, all are told `true`.
    Pooled,
    /// Not taken at all, and a running job may be taken for orphaned at any moment.
    Absent,
}

/// How a batch is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One autocommit statement, or fence and COMMIT pipelined: no client between the fence and the commit.
    Statement,
    /// A transaction whose client sends the fence and, later, COMMIT; it may freeze between the two.
    Transaction,
}

/// How a replica takes the loss of its run session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clients {
    /// The run is over on this replica.
    Obedient,
    /// Against the rules it connects anew and goes on with its batches under its old token, repeating what it
    /// had no answer to.
    Stubborn,
    /// It also connects anew to say `finish('succeeded')`.
    Reckless,
}

/// What chance may do, each costing one of [`Setup::fault_budget`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process dies; its session lingers until the server notices.
    Crash,
    /// The process stops (SIGSTOP, a paused machine, a partition) and may wake at any later time.
    Freeze,
    /// `pg_terminate_backend`, or the out-of-memory killer, on a run session.
    Terminate,
    /// A batch commits and the session dies before the answer arrives.
    ReplyLost,
    /// A batch fails for a passing reason (lock timeout, deadlock, serialization) and is rolled back.
    BatchError,
    /// The server restarts without losing a commit.
    Restart,
    /// A standby that lags is promoted: all since [`crate::world::State::standby`] was copied is lost.
    Failover,
    /// The work itself fails: `finish('failed')`, and in the same way `timed_out`.
    Fail,
    /// Orderly shutdown at a batch border: `finish('released')`.
    Drain,
}

/// What an operator or author may do, each costing one of [`Setup::verb_budget`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// `sexton.pause`
    Pause,
    /// `sexton.resume`
    Resume,
    /// `sexton.pause_all`
    PauseAll,
    /// `sexton.resume_all`
    ResumeAll,
    /// `sexton.cancel`
    Cancel,
    /// `sexton.kill`
    Kill,
    /// `UPDATE sexton.job SET params`: revision + 1, which disarms.
    Edit,
    /// `sexton apply` with `armed = true`: revision + 1 and armed in one statement.
    Apply,
    /// `sexton.disarm`
    Disarm,
    /// `sexton.arm`
    Arm,
    /// `sexton.run_now`
    RunNow,
}

/// Every verb.
pub const VERBS: &[Verb] = &[
    Verb::Pause,
    Verb::Resume,
    Verb::PauseAll,
    Verb::ResumeAll,
    Verb::Cancel,
    Verb::Kill,
    Verb::Edit,
    Verb::Apply,
    Verb::Disarm,
    Verb::Arm,
    Verb::RunNow,
];

/// One sentence of the protocol taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// Batches commit unchecked.
    FenceOff,
    /// The fence reads the job row without locking it: check and commit are two moments.
    FencePlainSelect,
    /// The fence locks `FOR KEY SHARE`, which an UPDATE of other columns does not wait for.
    FenceKeyShare,
    /// The fence compares version and revision, not run_id.
    FenceByVersion,
    /// The fence does not look at `paused_at` and `meta.halted_at`.
    FenceIgnoresPause,
    /// The fence does not look at `cancel_requested_at`.
    FenceIgnoresCancel,
    /// The fence does not compare the revision.
    FenceIgnoresRevision,
    /// The fence does not look at `armed_revision`.
    FenceIgnoresArming,
    /// The fence does not compare the expected seq.
    FenceIgnoresSeq,
    /// `claim` writes the scanned version + 1 without comparing it with the row's.
    ClaimBlind,
    /// `claim` compares nothing, but counts on from the row's own version under its lock.
    ClaimUncompared,
    /// `finish` settles whatever runs, whosever token it is.
    FinishUnchecked,
    /// `kill` moves the occurrence to now, as if due_at were the identity.
    DueAtIsIdentity,
    /// A run counts as orphaned by the age of a heartbeat, which a slow holder has too.
    OrphanByAge,
    /// The cursor is written after the commit, by a statement of its own.
    ProgressApart,
    /// The client takes the answer to COMMIT for success, also where the server rolled back.
    CommitTrusted,
    /// Attempts that end by the death of the holder do not count towards `max_attempts`.
    CrashesUncounted,
    /// A cancel is forgotten when the run ends in another way than by being cancelled.
    CancelForgotten,
    /// A `run_now` given while running is forgotten when the occurrence comes back.
    RerunForgotten,
    /// A run inherits the cursor of a run with another revision.
    CursorAcrossRevisions,
    /// A run inherits the cursor of a run in another mode.
    CursorAcrossModes,
    /// A new timeline does not raise the epoch.
    EpochKept,
    /// A new timeline raises the epoch by one, with no regard to the clock.
    EpochOnlyCounts,
    /// The orphan scan passes over paused jobs.
    PausedOrphansLeft,
    /// Workers: the cursors of all of them are one row, and each writes its own over the others'.
    OneRowForAllWorkers,
    /// Workers: their sessions hold no second key, so that a claim does not wait for their end.
    WorkersWithoutKey,
    /// Workers: a session that has the second key begins without asking whether its run still holds the job.
    WorkersJoinUnasked,
}

/// A promise. The names are those of `docs/protocol.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// I1: nothing commits (no batch, no finish) unless the job row admits exactly this token at that moment.
    I1NoSupersededCommit,
    /// I2: each (occurrence, step, revision) once, one success an occurrence, a success has all its steps.
    I2EachStepOnce,
    /// I3: each regular instant that elapsed was settled once or counted once; no accepted run-now is lost.
    I3NoOccurrenceLost,
    /// I4: the effects are exactly those that the recorded progress says.
    I4EffectIsProgress,
    /// I5: one running run a job, and (epoch, version) strictly grows from claim to claim.
    I5TokensGrow,
    /// I5, attempts: none beyond `max_attempts`.
    I5AttemptsEnd,
    /// G5: the SQL of two holders never overlaps on run sessions.
    G5NoOverlap,
    /// G9: after a verb returned, no batch that it forbids commits.
    G9VerbsAreBarriers,
    /// A cancel outlives its holder: a cancelled occurrence is never claimed again.
    CancelOutlivesHolder,
    /// A cursor is inherited from an equal revision and mode only.
    CursorStaysInRevision,
    /// Not a promise of safety but what a takeover may cost: a second attempt where nothing at all had failed.
    NoAttemptWasted,
}

/// A set of broken promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Broken(u16);

impl Broken {
    /// Adds a promise.
    pub fn insert(&mut self, promise: Promise) {
        self.0 |= 1 << promise as u16;
    }

    /// Adds `promise` if `kept` is false.
    pub fn unless(&mut self, kept: bool, promise: Promise) {
        if !kept {
            self.insert(promise);
        }
    }

    /// Adds those of another set.
    pub fn merge(&mut self, other: Broken) {
        self.0 |= other.0;
    }

    /// Whether the promise is broken.
    pub fn contains(self, promise: Promise) -> bool {
        self.0 & (1 << promise as u16) != 0
    }

    /// Whether no promise of safety is broken; an attempt wasted is a cost, not a breach.
    pub fn is_safe(self) -> bool {
        self.0 & !(1 << Promise::NoAttemptWasted as u16) == 0
    }
}

/// One exploration: the surroundings, the bounds, the mutants.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Replicas, each with one slot; at most [`REPLICAS_MAX`].
    pub replicas: usize,
    /// How the advisory lock behaves.
    pub locks: Locks,
    /// How batches are sent.
    pub form: Form,
    /// What a replica does whose session is lost.
    pub clients: Clients,
    /// Batches that make up the work of one occurrence.
    pub steps: u8,
    /// How far the clock goes; it starts at instant 1, when the first occurrence is due.
    pub instants: u8,
    /// `job.max_attempts`.
    pub max_attempts: u8,
    /// Which faults may happen.
    pub faults: &'static [Fault],
    /// How many of them in one history.
    pub fault_budget: u8,
    /// Which verbs may be given.
    pub verbs: &'static [Verb],
    /// How many of them in one history.
    pub verb_budget: u8,
    /// What is taken away from the protocol; empty is the protocol itself.
    pub mutants: &'static [Mutant],
}

impl Setup {
    /// Two replicas on direct connections, two batches an occurrence, no fault and no operator.
    pub const CALM: Setup = Setup {
        replicas: 2,
        locks: Locks::Session,
        form: Form::Statement,
        clients: Clients::Obedient,
        steps: 2,
        instants: 2,
        max_attempts: 2,
        faults: &[],
        fault_budget: 0,
        verbs: &[],
        verb_budget: 0,
        mutants: &[],
    };

    /// Whether this sentence of the protocol is taken away.
    pub fn lacks(&self, mutant: Mutant) -> bool {
        self.mutants.contains(&mutant)
    }
}
