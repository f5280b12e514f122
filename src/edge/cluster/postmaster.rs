//! The server process of a private cluster, as our child.
//!
//! It is started directly, without `pg_ctl`, so that we know its number and its end. What is easy to get
//! wrong: it gets a process group of its own, or an interrupt at the terminal would stop the server before
//! the replicas that are still draining.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::account::{Account, outside};
use crate::error::{Error, ErrorKind, Result};

/// The most that an orderly stop may take before it is made an immediate one.
const FAST_MAX: Duration = Duration::from_secs(30);

/// The most that an immediate stop may take before the process is killed.
const IMMEDIATE_MAX: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(5);

/// How a server is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Sessions are ended, everything is written.
    Fast,
    /// As in a crash, by the server's own hand: the next start recovers.
    Immediate,
    /// As in a crash, by the system's hand: the server's children end by themselves, a moment later.
    Kill,
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Stop::Fast => Signal::SIGINT,
            Stop::Immediate => Signal::SIGQUIT,
            Stop::Kill => Signal::SIGKILL,
        }
    }

    /// How long to wait, and what to try next.
    fn patience(self) -> (Duration, Stop) {
        match self {
            Stop::Fast => (FAST_MAX, Stop::Immediate),
            Stop::Immediate | Stop::Kill => (IMMEDIATE_MAX, Stop::Kill),
        }
    }
}

/// A running server. Dropping it stops it as `on_drop` says, and waits for that.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    on_drop: Stop,
}

impl Postmaster {
    /// Starts the server on a data folder; it is not ready yet.
    pub(super) fn launch(
        account: &Account,
        program: &Path,
        data: &Path,
        log: &Path,
        on_drop: Stop,
    ) -> Result<Postmaster> {
        let open = || File::options().append(true).create(true).open(log);
        let (out, err) = open()
            .and_then(|out| Ok((out.try_clone()?, out)))
            .map_err(|e| outside("cannot write the log", log, e))?;
        let mut command = account.command(program);
        command.arg("-D").arg(data).stdout(out).stderr(err).process_group(0);
        let child = command.spawn().map_err(|e| outside("cannot run", program, e))?;
        Ok(Postmaster { child, on_drop })
    }

    /// The number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal, unless the process has ended: its number may be another's by now.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Err(Error::new(ErrorKind::Outside, "the server is not running").about("private cluster"));
        }
        let pid = i32::try_from(self.pid()).map(Pid::from_raw);
        let sent = pid.map_err(Into::into).and_then(|pid| kill(pid, signal).map_err(Into::into));
        sent.map_err(|error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Outside, format!("cannot send {signal} to the server"))
                .about("private cluster")
                .caused_by(error)
        })
    }

    /// Stops the server and waits until it has ended, by harder means if it does not.
    pub(super) async fn stop(&mut self, how: Stop) {
        let mut step = Some(how);
        while let Some(how) = step {
            let deadline = self.tell(how);
            while self.ended().is_none() && Instant::now() < deadline {
                tokio::time::sleep(POLL).await;
            }
            step = self.harder(how);
        }
    }

    fn stop_blocking(&mut self, how: Stop) {
        let mut step = Some(how);
        while let Some(how) = step {
            let deadline = self.tell(how);
            while self.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(POLL);
            }
            step = self.harder(how);
        }
    }

    /// Tells the process to stop, and wakes it if it is frozen, since it would not hear otherwise.
    fn tell(&mut self, how: Stop) -> Instant {
        for signal in [how.signal(), Signal::SIGCONT] {
            if let Err(error) = self.signal(signal) {
                tracing::trace!(%error, "the server has ended already");
            }
        }
        Instant::now() + how.patience().0
    }

    fn harder(&mut self, how: Stop) -> Option<Stop> {
        (self.ended().is_none() && how != Stop::Kill).then(|| how.patience().1)
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.stop_blocking(self.on_drop);
    }
}

/// How long the log is now; a mark for [`log_since`].
pub(super) fn log_length(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |metadata| metadata.len())
}

/// What the log says after the mark, of that at most the last 16 KiB; empty if there is none.
pub(super) fn log_since(log: &Path, mark: u64) -> String {
    const BYTES_MAX: u64 = 16 * 1024;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(mark.max(end.saturating_sub(BYTES_MAX))))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last lines of a text.
pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
