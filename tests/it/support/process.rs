//! A replica as users start it: `sexton run` in a process of its own.
//!
//! It sees none of this machine's environment but the path. Dropping it kills it.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::Instant;

use super::{Db, db::CAP};

/// A running `sexton run`.
pub struct Process {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Process {
    /// Starts one of this name.
    pub fn start(db: &Db, name: &str) -> Process {
        Self::with(db, name, &[])
    }

    /// Starts one with further arguments.
    pub fn with_args(db: &Db, name: &str, args: &[&str]) -> Process {
        Self::spawn(db, name, &[], args)
    }

    /// Starts one with variables in its environment.
    pub fn with(db: &Db, name: &str, environment: &[(&str, &str)]) -> Process {
        Self::spawn(db, name, environment, &[])
    }

    fn spawn(db: &Db, name: &str, environment: &[(&str, &str)], args: &[&str]) -> Process {
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sexton"))
            .args(["run", "--database", &db.conninfo, "--name", name])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Process { child, log }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + CAP;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end within {CAP:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it has stopped itself, as by SIGSTOP.
    #[cfg(feature = "failpoints")]
    pub async fn until_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        let deadline = Instant::now() + CAP;
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(Instant::now() < deadline, "it does not stop within {CAP:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until it has logged this.
    pub async fn until_logged(&self, text: &str) {
        let deadline = Instant::now() + CAP;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "`{text}` is not logged within {CAP:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
