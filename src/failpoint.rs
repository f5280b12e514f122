//! Named points between the steps of the protocol where a test may stop, fail or kill a replica.
//!
//! Compiled only with the feature `failpoints`, which no release has; without it the macro is nothing. A test names
//! points by the environment: `SEXTON_FAILPOINTS="batch.before@3=exit;claim.won=stop"` lets the process exit when it
//! comes to `batch.before` for the third time, and stops it (SIGSTOP, as a frozen host would be) once it has a claim.

/// Every name there is: the fault suite iterates over them, so that a new step without a test fails.
pub const NAMES: &[&str] = &[
    "claim.locked",
    "claim.won",
    "batch.before",
    "batch.fence",
    "batch.committed",
    "elsewhere.installed",
    "elsewhere.fenced",
    "elsewhere.committed",
    "finish.before",
    "finish.after",
];

#[cfg(feature = "failpoints")]
macro_rules! failpoint {
    ($name:literal) => {
        crate::failpoint::reached($name)
    };
}

#[cfg(not(feature = "failpoints"))]
macro_rules! failpoint {
    ($name:literal) => {};
}

pub(crate) use failpoint;

/// Does what the environment says for this point.
///
/// # Panics
/// If told to (`=panic`), or if the environment names a point or an action that does not exist.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &'static str) {
    use std::{collections::HashMap, sync::Mutex};
    static HITS: Mutex<Option<HashMap<&'static str, u32>>> = Mutex::new(None);

    let Ok(wanted) = std::env::var("SEXTON_FAILPOINTS") else { return };
    let hit = {
        let mut hits = HITS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = hits.get_or_insert_default().entry(name).or_default();
        *count += 1;
        *count
    };
    for wish in wanted.split(';').filter(|wish| !wish.trim().is_empty()) {
        let (point, action) = wish.split_once('=').expect("a failpoint reads name=action");
        let (point, nth) = point.split_once('@').unwrap_or((point, "1"));
        assert!(NAMES.contains(&point.trim()), "there is no failpoint {point}");
        if point.trim() == name && nth.trim().parse() == Ok(hit) {
            act(action.trim());
        }
    }
}

#[cfg(feature = "failpoints")]
fn act(action: &str) {
    match action {
        "exit" => std::process::exit(86),
        "abort" => std::process::abort(),
        "panic" => panic!("told to by a failpoint"),
        #[cfg(feature = "cli")]
        "stop" => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("a process can stop itself")
        }
        other => panic!("there is no action {other} for a failpoint"),
    }
}
