//! A program of this machine in a process group of its own: started, listened to, stopped, never left behind.
//!
//! Each has a thread of its own, which starts it, waits for its end, kills whom it left behind in its group, and only then
//! lets the kernel forget it. What is easy to get wrong: the kernel's "kill me when my parent dies" means the *thread* that
//! started the program, so no thread of a runtime may do it; and a group may be signalled only until its leader is reaped,
//! or the signal may meet a stranger with the same number.

mod child_exec;
mod output;

use std::{
    ffi::OsString,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
    sync::oneshot,
    task::JoinHandle,
};

pub use child_exec::{NAME as CHILD_EXEC, run as child_exec};
pub use output::{KEPT, Kept};

use super::commands::Limits;
use crate::error::{Error, ErrorKind, Result};

/// How long after the end of the group its output may still be read: only a process that left the group can hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program by its absolute path, and its arguments. No shell sees them.
    pub argv: Vec<String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// All of its environment.
    pub env: Vec<(String, OsString)>,
    /// The user that it runs as; `None`: ours. Only root can say another, and needs `helper`.
    pub user: Option<String>,
    /// Its limits; these need `helper`.
    pub limits: Limits,
    /// The program `sexton`, which sets the child up and becomes it: then it dies with us even if we are killed. `None`:
    /// it is started directly.
    pub helper: Option<PathBuf>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// The end of a program.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it wrote to its standard output.
    pub stdout: Kept,
    /// What it wrote to its standard error.
    pub stderr: Kept,
}

/// A program that was started. Dropping it kills its group at once.
#[derive(Debug)]
pub struct Process {
    group: Group,
    ended: oneshot::Receiver<std::io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    stdout: Reader,
    stderr: Reader,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be started: it is not there, or may not be executed.
    ///
    /// # Cancel safety
    /// Dropping the future kills what may have been started.
    pub async fn start(start: &Start) -> Result<Process> {
        let command = command(start)?;
        let failed = |cause: std::io::Error| {
            Error::new(ErrorKind::Outside, format!("{} cannot be started", start.argv[0])).caused_by(cause)
        };
        let (tell_started, started) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("sexton-command".to_owned())
            .spawn(move || watch(command, tell_started, tell_ended))
            .map_err(failed)?;
        let gone = |_| std::io::Error::other("its thread is gone");
        let started = started.await.map_err(gone).and_then(|started| started).map_err(failed)?;
        Ok(Process {
            group: started.group,
            ended,
            status: None,
            stdout: Reader::of(started.stdout.map(ChildStdout::from_std).transpose().map_err(failed)?),
            stderr: Reader::of(started.stderr.map(ChildStderr::from_std).transpose().map_err(failed)?),
        })
    }

    /// Its process id, which is that of its group.
    pub fn id(&self) -> i32 {
        self.group.id
    }

    /// Asks its group to end (SIGTERM).
    pub fn terminate(&self) {
        self.group.signal(Signal::SIGTERM);
    }

    /// Ends its group (SIGKILL).
    pub fn kill(&self) {
        self.group.signal(Signal::SIGKILL);
    }

    /// Waits for its end, and for that of its group.
    ///
    /// # Errors
    /// If the operating system does not tell.
    ///
    /// # Cancel safety
    /// Safe: it may be called again.
    pub async fn ended(&mut self) -> Result<Ended> {
        let failed = |cause: std::io::Error| {
            Error::new(ErrorKind::Outside, "the end of a program cannot be told").caused_by(cause)
        };
        let status = match self.status {
            Some(status) => status,
            None => {
                let status = (&mut self.ended).await;
                let gone = |_| std::io::Error::other("its thread is gone");
                *self.status.insert(status.map_err(gone).and_then(|status| status).map_err(failed)?)
            }
        };
        let how = match status.code() {
            Some(code) => How::Exited(code),
            None => How::Signalled(status.signal().unwrap_or_default()),
        };
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        Ok(Ended { how, stdout: self.stdout.read(deadline).await, stderr: self.stderr.read(deadline).await })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A process group, until its leader is reaped.
#[derive(Clone, Debug)]
struct Group {
    id: i32,
    alive: Arc<Mutex<bool>>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            // Whoever of it is gone already needs no signal.
            let _ = killpg(Pid::from_raw(self.id), signal);
        }
    }

    fn forget(&self) {
        *self.alive.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

struct Started {
    group: Group,
    stdout: Option<std::process::ChildStdout>,
    stderr: Option<std::process::ChildStderr>,
}

/// This program, to set up others: by the kernel's own name for it, which survives that its file is replaced.
pub fn own_program() -> Option<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Some("/proc/self/exe".into()),
        false => std::env::current_exe().ok(),
    }
}

/// A program in a group of its own that has our streams, folder and environment. On Linux the group dies with us, even if
/// we are killed. To be started by the main thread, of a program that answers [`CHILD_EXEC`] as `sexton` does.
pub fn tied(argv: &[String]) -> Command {
    let mut command = Command::new(own_program().unwrap_or_else(|| "sexton".into()));
    command.args(child_exec::arguments(&Limits::default(), None)).args(argv).process_group(0);
    command
}

fn command(start: &Start) -> Result<Command> {
    let Some((program, arguments)) = start.argv.split_first() else {
        return Err(Error::new(ErrorKind::Invalid, "there is no program to start"));
    };
    let mut command = match &start.helper {
        Some(helper) => {
            let mut command = Command::new(helper);
            command.args(child_exec::arguments(&start.limits, start.user.as_deref())).args(&start.argv);
            command
        }
        None if start.user.is_some() || start.limits != Limits::default() => {
            let error =
                Error::new(ErrorKind::Invalid, "a user and limits can be set by the program sexton alone");
            return Err(error.with_remedy("run it by sexton run, or declare neither"));
        }
        None => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    command
        .current_dir(&start.cwd)
        .env_clear()
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

/// The thread of a program: from its start to its end.
fn watch(
    mut command: Command,
    started: oneshot::Sender<std::io::Result<Started>>,
    ended: oneshot::Sender<std::io::Result<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let group = Group { id: child.id().cast_signed(), alive: Arc::new(Mutex::new(true)) };
    let told = started.send(Ok(Started {
        group: group.clone(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    }));
    if told.is_err() {
        group.signal(Signal::SIGKILL);
    }
    wait_without_reaping(&mut child);
    group.signal(Signal::SIGKILL);
    group.forget();
    let _ = ended.send(child.wait());
}

/// Waits until the leader has ended; its number stays taken.
#[cfg(target_os = "linux")]
fn wait_without_reaping(child: &mut Child) {
    use nix::{
        errno::Errno,
        sys::wait::{Id, WaitPidFlag, waitid},
    };
    let leader = Pid::from_raw(child.id().cast_signed());
    while waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
}

/// Elsewhere it is reaped here; the group that it left is signalled right after.
#[cfg(not(target_os = "linux"))]
fn wait_without_reaping(child: &mut Child) {
    // `wait` keeps the status for the next caller.
    let _ = child.wait();
}

/// What is read of one stream, in the background.
#[derive(Debug)]
struct Reader {
    kept: Arc<Mutex<Kept>>,
    task: Option<JoinHandle<()>>,
}

impl Reader {
    fn of(stream: Option<impl AsyncRead + Unpin + Send + 'static>) -> Reader {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let to = Arc::clone(&kept);
        let task = stream.map(|mut stream| {
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    to.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]);
                }
            })
        });
        Reader { kept, task }
    }

    /// What was written until the stream ended, or until the deadline.
    async fn read(&mut self, deadline: tokio::time::Instant) -> Kept {
        if let Some(task) = &mut self.task {
            let _ = tokio::time::timeout_at(deadline, &mut *task).await;
            task.abort();
        }
        self.task = None;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
