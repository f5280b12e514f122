//! The faults that the nemesis draws: what each is, how it is done, and how often.
//!
//! Numbers are those of the table in `docs/reliability.md`. Faults that need a stage of their own (failover, full disks,
//! poolers, clocks of the server) are scenarios in `staged`.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    Failpoint,
    Freeze,
    Terminate,
    Cancel,
    KillBackend,
    ServerCrash,
    KillPostmaster,
    ServerOff,
    LineDead,
    LineOneWay,
    LineSlow,
    LineReset,
    AnswerCut,
    AnswerLost,
    ClockWrong,
    Blocker,
    OldSnapshot,
    Stranger,
    Drain,
}

/// An entry of the table.
pub struct Entry {
    pub fault: Fault,
    pub number: &'static str,
    pub what: &'static str,
    /// Of all draws, how many, relative to the others.
    pub weight: u32,
}

const fn entry(fault: Fault, number: &'static str, weight: u32, what: &'static str) -> Entry {
    Entry { fault, number, what, weight }
}

/// All of them.
pub const TABLE: &[Entry] = &[
    entry(Fault::Kill, "F1", 14, "a replica is killed (SIGKILL) and started again"),
    entry(Fault::Failpoint, "F2", 8, "a replica exits, aborts or panics at a named point of the protocol"),
    entry(Fault::Freeze, "F3", 10, "a replica is frozen (SIGSTOP) for 0.05 to 7.5 s, beyond its lease too"),
    entry(Fault::Terminate, "F5", 12, "pg_terminate_backend of a run or control session"),
    entry(Fault::Cancel, "F5", 8, "pg_cancel_backend of a run session"),
    entry(Fault::KillBackend, "F6", 1, "kill -9 of a backend: the server starts all anew"),
    entry(Fault::ServerCrash, "F7", 1, "immediate stop and start of the server"),
    entry(Fault::KillPostmaster, "F7", 1, "kill -9 of the postmaster, and start"),
    entry(Fault::ServerOff, "F8", 1, "the server is off for 0.05 to 2.5 s"),
    entry(Fault::LineDead, "F14", 8, "nothing passes between a replica and the server for 0.05 to 7.5 s"),
    entry(Fault::LineOneWay, "F14", 6, "nothing passes one way for 0.05 to 7.5 s"),
    entry(Fault::LineSlow, "F14", 4, "each piece takes 1 to 100 ms longer"),
    entry(Fault::LineReset, "F14", 8, "all connections of a replica are reset"),
    entry(Fault::AnswerCut, "F14", 8, "the next answer to a batch or COMMIT arrives by half, then a reset"),
    entry(Fault::AnswerLost, "F15", 16, "the next answer to a batch or COMMIT is swallowed, then a reset"),
    entry(
        Fault::ClockWrong,
        "F16",
        4,
        "a replica is started with its clock an hour or a day off, or at double speed",
    ),
    entry(
        Fault::Blocker,
        "F24",
        6,
        "a session locks the target table for up to 1 s: lock timeouts and deadlocks",
    ),
    entry(Fault::OldSnapshot, "F26", 3, "a session keeps a transaction with an old snapshot open"),
    entry(Fault::Stranger, "F22", 4, "a stranger takes the lock of an idle job for up to 2.5 s"),
    entry(Fault::Drain, "F29", 8, "a replica is drained (SIGTERM) under load and started again"),
];
