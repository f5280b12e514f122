//! Processes of the suite's own: started, signalled, and gone when the suite is.
//!
//! All of them share the process group of a keeper, a shell that waits for our end and then kills its group. What is easy
//! to get wrong: a frozen process hears nothing but SIGKILL, so neither a pipe nor a polite signal would end it after the
//! suite itself was killed.

use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{replica, staged::BUILD, world::Result};

/// Kills what is left of a group when its owner ends.
pub struct Keeper {
    shell: Child,
    pub folder: tempfile::TempDir,
}

impl Keeper {
    pub fn start() -> Result<Keeper> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' TERM INT HUP; cat > /dev/null; kill -9 0"]).process_group(0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Keeper { shell, folder: tempfile::tempdir()? })
    }

    /// Starts a program in the group; what it says goes to a file of this name.
    pub fn spawn(&self, mut command: Command, name: &str) -> Result<Process> {
        let log = self.folder.path().join(format!("{name}.log"));
        let out = std::fs::File::options().append(true).create(true).open(&log)?;
        command.process_group(i32::try_from(self.shell.id())?);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        Ok(Process { child, name: name.to_owned(), log, frozen: false })
    }

    /// Where the replicas write what they know.
    pub fn diaries(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It ends by its own signal.
        let _ = self.shell.wait();
    }
}

/// Lets a program come to its end; it is killed if nobody waits for it any more.
pub async fn output(command: Command) -> Result<Output> {
    Ok(tokio::process::Command::from(command).kill_on_drop(true).output().await?)
}

/// One of them. Dropping it kills it.
pub struct Process {
    child: Child,
    pub name: String,
    pub log: PathBuf,
    pub frozen: bool,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.pid())
        {
            self.frozen = match signal {
                Signal::SIGSTOP => true,
                Signal::SIGCONT => false,
                _ => self.frozen,
            };
            // It may have ended in between, which is no matter.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Asks it to end; how it ended, and after how long.
    pub async fn drain(&mut self, most: Duration) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
        while began.elapsed() < most {
            if let Some(status) = self.ended() {
                return Ok((status, began.elapsed()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.kill();
        Err(format!(
            "{} did not end within {most:?} of SIGTERM; its log ends: {}",
            self.name,
            self.last_words()
        )
        .into())
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process ended as one that was asked to, or was killed by us.
pub fn is_clean(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(Signal::SIGKILL as i32)
}

/// Which program a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// This binary: the kind `steps` and the built-ins.
    Embedded,
    /// `sexton run`: the built-ins alone, and the lease that users have.
    Sexton,
}

/// How a replica is started.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: String,
    pub conninfo: String,
    pub lease: Option<Duration>,
    pub slots: u16,
    pub program: Program,
    pub variables: Vec<(String, String)>,
}

impl Setup {
    pub fn new(name: impl Into<String>, conninfo: impl Into<String>) -> Setup {
        Setup {
            name: name.into(),
            conninfo: conninfo.into(),
            lease: None,
            slots: 8,
            program: Program::Embedded,
            variables: Vec::new(),
        }
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The command.
    pub fn command(&self, diaries: &Path) -> Result<Command> {
        let mut command = match self.program {
            Program::Embedded => self.embedded(diaries)?,
            Program::Sexton => {
                let build = self.variables.iter().rev().find(|(name, _)| name == BUILD);
                let program = build.map_or(env!("CARGO_BIN_EXE_sexton"), |(_, path)| path);
                let mut command = Command::new(program);
                command
                    .args(["run", "--log-format", "json"])
                    .env("DATABASE_URL", &self.conninfo)
                    .env("SEXTON_NAME", &self.name);
                command.env("SEXTON_SLOTS", self.slots.to_string());
                command
            }
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn embedded(&self, diaries: &Path) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("replica").env(replica::CONNINFO, &self.conninfo).env(replica::NAME, &self.name);
        command.env(replica::SLOTS, self.slots.to_string());
        command.env(replica::DIARY, diaries.join(format!("{}.jsonl", self.name)));
        if let Some(lease) = self.lease {
            command.env(replica::LEASE_MS, lease.as_millis().to_string());
        }
        Ok(command)
    }

    pub fn start(&self, keeper: &Keeper) -> Result<Process> {
        keeper.spawn(self.command(keeper.diaries())?, &self.name)
    }
}

/// A connection string for replicas: TCP, by this port.
pub fn conninfo(tcp: &tokio_postgres::Config, host: &str, port: u16) -> String {
    let password = String::from_utf8_lossy(tcp.get_password().unwrap_or_default()).into_owned();
    let (user, database) = (tcp.get_user().unwrap_or_default(), tcp.get_dbname().unwrap_or_default());
    format!("host={host} port={port} user={user} password={password} dbname={database} connect_timeout=5")
}
