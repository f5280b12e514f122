//! The kernel: the only place that takes advisory locks, and the only one by which `sexton.job` and `sexton.run` are
//! written. What follows is its specification in short; `docs/protocol.md` is the whole of it.
//!
//! # What it promises
//! A batch commits only if, at its commit, the job's row holds exactly its version and run id, in state running, with
//! no pause, cancel, edit or halt against it. That holds whatever crashes, freezes or is cut off, at any time. Each
//! occurrence is run to an outcome or counted as missed. A crashed replica's job goes on elsewhere, at its cursor,
//! about a second later.
//!
//! # Three layers, each with one duty
//! - **Ownership** is the row: `version` goes up by one with every change of holder, by compare and swap.
//! - **Safety** is the fence: the last statement of every batch share-locks that row and compares, in the transaction
//!   of the effect. A superseded holder's effect never commits.
//! - **Liveness** is a session advisory lock on the run session, and settings by which the server itself ends a session
//!   whose client is gone. If the lock fails us, takeover is slow; it is never unsafe.
//!
//! # States of a job
//! ```text
//!          claim: lock held, version + 1                    finish: terminal outcome
//!   idle ------------------------------------> running ------------------------------------> idle, next occurrence
//!    ^                                          |  |  |
//!    +-- finish: failed, timed_out; attempts left  |  +--- session gone: the next claim settles it as lost, and goes on
//!    |   same occurrence, after the backoff        |       at its cursor (cancelled, if that was asked for; the next
//!    +-- finish: superseded, released -------------+       occurrence, if the attempts are used up)
//!    |   same occurrence, at once, attempt given back
//!    +-- kill: as released, by an operator
//! ```
//!
//! # Who may change what
//! | columns of `sexton.job` | changed by |
//! |---|---|
//! | the definition, schedule, limits | people and `apply`, by plain SQL; a trigger counts revisions and voids plans |
//! | pause, arm, approve, cancel | the verbs of `operate` |
//! | `scheduled_at`, validation | `plan`, `skip`, `accept`, `reject`, for replicas |
//! | `state`, `version`, `run_id`, holder, occurrence, attempt | `claim`, `finish`, `kill`, and nothing else |
//!
//! # What fails, and what happens then
//! | what | who notices | what follows |
//! |---|---|---|
//! | process killed | the server, at once; every replica, within a second | lost; recovered at the cursor |
//! | process frozen, host unreachable | the server's timers, within 15 s | the same; the zombie's next batch is fenced |
//! | server restarted | everybody | the same, as soon as one can connect |
//! | answer to a COMMIT lost | the run, which ends | the next attempt reads from the database whether it committed |
//! | operator pauses, edits, cancels, kills | the next fence | no batch commits after the verb has returned |
//! | failover that loses commits | version and run id differ; the epoch is raised | zombies are fenced; tokens go on rising |
//!
//! # What is absent, on purpose
//! No clock but the database's, and no safety decision by any clock. No sleep. No pool. No reconnecting within a run. No
//! blocking advisory lock. No leader, no heartbeat row.
//!
//! Modules, in the order in which to read them: how a session is opened ([`connect`], [`pooler`]); what is due
//! ([`schedule`], [`job`], [`control`]); a run's session and how it is won ([`session`], [`claim`], `held`); how its work commits
//! ([`fence`], with [`slices`] and `ahead`; `elsewhere`, for work in another database), what becomes of it ([`run`], [`finish`]), what else it may hold ([`resource`]) and who
//! else may work for it (`worker`); how a run that is busy
//! learns that it must stop (`watch`); what people hear of it ([`notice`]).

pub mod connect;
pub mod pooler;
pub mod schedule;
pub mod job;
pub mod control;
pub mod session;
pub mod claim;
pub(crate) mod held;
pub(crate) mod ahead;
pub mod slices;
pub mod fence;
pub(crate) mod elsewhere;
pub mod transaction;
pub mod run;
pub mod finish;
pub mod resource;
pub mod notice;
pub(crate) mod worker;
#[cfg(feature = "cli")]
pub(crate) mod author;
pub mod verbs;
pub mod operate;
pub(crate) mod watch;

mod refusal;
