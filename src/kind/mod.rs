//! What a kind is: the trait, what a run of it is given, what it gives back, and the registry that finds it by name.
//!
//! A built-in kind uses nothing that a user's own crate could not. What is easy to get wrong: a kind never writes to
//! the database other than through [`RunContext::batch`] or [`RunContext::begin`], since only what these commit is
//! fenced; reading is free.

mod context;
mod describe;
mod elsewhere;
mod keep;
mod need;
mod options;
mod reader;
mod registry;
mod report;
mod strict;
mod unfenced;
mod watch;
mod workers;
pub mod check;
pub mod inputs;
pub mod interval;
pub mod pace;
pub mod sql;
pub mod target;
pub mod trampoline;
pub mod vacuum;

pub use context::RunContext;
pub use describe::{Description, Nature, Param};
pub use elsewhere::Databases;
pub use need::{Names, Need};
pub use options::Options;
pub use reader::Reader;
pub use registry::{Kind, ParamError, Registered, Registry, Rights};
pub use report::{ComeBack, Report, Stopped};
pub use unfenced::{LockWait, Unfenced};
pub use watch::Watch;
pub use workers::{PartWork, Worked};

pub use crate::protocol::fence::{Batch, Commits, Undone};
pub use crate::protocol::resource::Wanted;
pub use crate::protocol::run::{Mode, Stop, StopReason};
pub use crate::protocol::slices::{IN_BATCH, Slices};
pub use crate::protocol::transaction::FencedTransaction;
