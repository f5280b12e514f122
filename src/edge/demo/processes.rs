//! This very program in processes of its own: the demo's replicas, and the commands that an operator would type.
//!
//! Replicas are no threads, so that SIGKILL means what it means in production. What is easy to get wrong: `^C` reaches the
//! whole process group of a terminal, so each replica has a group of its own and dies by our hand alone; and if *we*
//! are killed, nobody is left to do that, so a shell waits for our end and does.

use std::{
    collections::VecDeque,
    io::Write,
    os::unix::process::CommandExt,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::error::{Error, ErrorKind, Result};

/// The lines of a replica's log that are kept, for when something goes wrong.
const LINES_KEPT: usize = 15;

/// Waits until its input ends, then kills the process that it was given, unless it was told that this is gone.
const GUARD: &str = r#"read -r word; [ "$word" = done ] || kill -KILL "$1""#;

/// One replica.
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) pid: u32,
    // Dropped in this order: the process goes, then its guard is told.
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    _guard: Guard,
}

impl Replica {
    /// Starts a replica on this database.
    fn start(name: &str, conninfo: &str) -> Result<Replica> {
        let failed = |cause| failed("cannot start a replica", cause);
        let mut command = ourselves(conninfo)?;
        command.args(["run", "--name", name]).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep_last_lines(stderr, Arc::clone(&log)));
        }
        let pid = child.id().unwrap_or_default();
        Ok(Replica { name: name.to_owned(), pid, child, log, _guard: Guard::start(pid)? })
    }

    /// Kills it as the kernel would: no goodbye, no cleaning up.
    pub(super) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.map_err(|cause| failed("cannot kill a replica", cause))
    }

    /// Whether it ended by itself, which none should.
    fn ended(&mut self) -> Option<Error> {
        let status = self.child.try_wait().ok().flatten()?;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let log = log.iter().fold(String::new(), |text, line| text + "\n" + line);
        Some(Error::new(ErrorKind::Outside, format!("ended with {status}:{log}")).about(self.name.clone()))
    }
}

async fn keep_last_lines(stderr: impl tokio::io::AsyncRead + Unpin, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_back(line);
        if log.len() > LINES_KEPT {
            log.pop_front();
        }
    }
}

/// The demo's replicas. Dropping this kills them.
pub(super) struct Replicas(Vec<Replica>);

impl Replicas {
    /// Starts `count` replicas on this database.
    pub(super) fn start(count: u32, conninfo: &str) -> Result<Replicas> {
        (1..=count)
            .map(|n| Replica::start(&format!("replica-{n}"), conninfo))
            .collect::<Result<_>>()
            .map(Replicas)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Replica> {
        self.0.iter()
    }

    /// Takes the replica of this name out, to be killed.
    pub(super) fn remove(&mut self, name: &str) -> Option<Replica> {
        let at = self.0.iter().position(|replica| replica.name == name)?;
        Some(self.0.remove(at))
    }

    /// An error if any ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        self.0.iter_mut().find_map(Replica::ended).map_or(Ok(()), Err)
    }
}

/// Kills a process if we are killed.
struct Guard(std::process::Child);

impl Guard {
    fn start(pid: u32) -> Result<Guard> {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", GUARD, "sexton-guard", &pid.to_string()]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell
            .spawn()
            .map(Guard)
            .map_err(|cause| failed("cannot run sh, which ends the replicas if we are killed", cause))
    }
}

impl Drop for Guard {
    /// Tells it that the process is gone: its id may soon be that of another.
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            // If it cannot be written, the shell is gone already.
            let _ = input.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}

/// Runs a command as an operator would type it, without the leading `sexton`; returns what it answers.
pub(super) async fn typed(conninfo: &str, words: &[&str]) -> Result<String> {
    let line = format!("sexton {}", words.join(" "));
    let output = ourselves(conninfo)?.args(words).stdout(Stdio::piped()).output().await;
    let output = output.map_err(|cause| failed("cannot run", cause).about(line.clone()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::new(ErrorKind::Outside, format!("{}: {said}", output.status)).about(line));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// This program, on that database. Nothing that the user's shell says about databases or Sexton concerns it.
fn ourselves(conninfo: &str) -> Result<Command> {
    let program = std::env::current_exe().map_err(|cause| failed("cannot find this program", cause))?;
    let mut command = Command::new(program);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PG") || name.starts_with("SEXTON_")) {
            command.env_remove(variable);
        }
    }
    command.env("DATABASE_URL", conninfo).current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

fn failed(message: &str, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Outside, message).caused_by(cause)
}
