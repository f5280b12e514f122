//! Commands by name: what a job of the kind `command` may start, as this machine declares it.
//!
//! Only the data; starting them is the feature `command`'s. What is easy to get wrong: an argument is never split or
//! given to a shell; `{name}` stands for one declared parameter and may be a part of one argument.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// A command of the local file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program, by its absolute path, and its arguments; `{name}` stands for a parameter.
    pub argv: Vec<String>,
    /// Where it starts; `None`: the root folder.
    pub cwd: Option<PathBuf>,
    /// The variables of the replica's environment that it gets, by name. Default: none.
    pub env: Vec<String>,
    /// The user that it runs as; `None`: the replica's own.
    pub user: Option<String>,
    /// The parameters that a job may give.
    pub params: BTreeMap<String, CommandParam>,
    /// Its limits.
    pub limits: Limits,
    /// How long it has from SIGTERM to SIGKILL. Default 10 s.
    pub grace: Duration,
}

/// What a parameter of a command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandParam {
    /// Any text without control characters.
    Text,
    /// A whole number.
    Whole,
    /// One of these.
    OneOf(Vec<String>),
}

/// Limits of a command's processes; `None`: the replica's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time, in whole seconds (RLIMIT_CPU).
    pub cpu_time: Option<Duration>,
    /// Address space of a process, in MiB (RLIMIT_AS).
    pub memory_mib: Option<u64>,
    /// Open files (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
}

/// How long a command has from SIGTERM to SIGKILL if the file does not say.
pub const GRACE: Duration = Duration::from_secs(10);
