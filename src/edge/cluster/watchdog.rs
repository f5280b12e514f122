//! Ends a private cluster when its owner can no longer do so: a small shell process that waits for our end.
//!
//! It is not what ends a cluster ordinarily: `Drop` does, and tells the watchdog so. What is easy to get wrong:
//! a signal to the terminal's process group must not reach it, and only its owner may hold the writing end of
//! its input (the standard library marks pipes close-on-exec, so other children do not inherit it).

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
};

use super::account::Account;
use crate::error::{Error, ErrorKind, Result};

const SCRIPT: &str = include_str!("watchdog.sh");

/// How long a postmaster that was just being started may take to write its file, in tenths of a second.
const GRACE: &str = "20";

/// The process that waits for our end. Dropping it tells it that everything is cleaned up.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Begins to watch over the cluster in `folder`.
    pub(super) fn start(account: &Account, folder: &Path) -> Result<Watchdog> {
        spawn(account, folder, GRACE, Stdio::piped()).map(Watchdog)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            // If it cannot be written, the watchdog is gone already; nothing else can be done about it here.
            let _ = input.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}

/// Ends what is left of a cluster whose owner is gone, and removes `folder`. Waits until that is done.
pub(super) fn clean(account: &Account, folder: &Path) -> Result<()> {
    spawn(account, folder, "0", Stdio::null())?.wait().map(drop).map_err(failed)
}

fn spawn(account: &Account, folder: &Path, grace: &str, input: Stdio) -> Result<Child> {
    let mut shell = account.command("sh");
    shell.args(["-c", SCRIPT, "sexton-watchdog"]).arg(folder).arg(grace);
    shell.stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    shell.spawn().map_err(failed)
}

fn failed(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Outside, "cannot run sh, which ends the cluster if we are killed")
        .about("private cluster")
        .caused_by(cause)
}
