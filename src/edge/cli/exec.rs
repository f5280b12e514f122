//! `sexton exec`: a command that runs while it holds resources, in the queue of nobody's jobs.
//!
//! The resources are held by a session that does nothing else, with the lease of a run's. What is easy to get wrong: the
//! command must not go on when that session is gone, since another may hold the resources by then. So it gets a process
//! group of its own, which is ended as a whole: at first by SIGTERM, and after a while by SIGKILL. Where this very process
//! is killed by SIGKILL, the kernel tells the group's leader, which does the same (on Linux; elsewhere the command goes on).

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use clap::Args;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use super::{Context, Exit, format, locks::LockArgs};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::process::tied,
    protocol::resource::{Locks, Taken},
};

/// How often the server is shown that we live; it ends the session after 15 s of silence.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A session whose last good ping started longer ago than this is not trusted any more.
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the command may take to end after SIGTERM when the session is lost.
const GRACE: Duration = Duration::from_secs(5);
/// How often resources that are held are tried for: the least and the most, in milliseconds.
const RETRY: (u64, u64) = (200, 400);

/// What `exec` takes.
#[derive(Debug, Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    locks: LockArgs,
    /// How long to wait for them: `10m` [default: not at all]
    #[arg(long, value_name = "TIME", value_parser = format::read_span)]
    wait: Option<Duration>,
    /// The command, and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) async fn exec(context: &Context, args: &ExecArgs) -> Result<Exit> {
    let Some(program) = args.command.first() else {
        return Err(Error::invalid("there is no command").with_remedy("sexton exec --lock NAME -- COMMAND"));
    };
    let name = format!("sexton/exec/{}", program.rsplit('/').next().unwrap_or(program));
    // Says what to do where there is no schema.
    drop(context.global.operator().await?);
    let mut locks = Locks::open(&context.global.connector()?, &name).await?;
    take(&mut locks, args).await?;
    let mut child = Command::from(tied(&args.command)).kill_on_drop(true).spawn().map_err(|cause| {
        Error::new(ErrorKind::Outside, "it cannot be started").about(program.as_str()).caused_by(cause)
    })?;
    let ended = attend(&mut child, &locks).await;
    // Free at the latest when the session closes, in a moment.
    let _ = tokio::time::timeout(PING_TIMEOUT, locks.give_all()).await;
    ended.map(|status| Exit::Of(code(status)))
}

/// Waits for the resources as long as was said, and tells who has them.
async fn take(locks: &mut Locks, args: &ExecArgs) -> Result<()> {
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    let mut told = String::new();
    loop {
        let Taken::Held { resource, behind } = locks.take(&args.locks.wanted).await? else { return Ok(()) };
        let held = format!("{resource} is held by {behind}");
        if Instant::now() >= deadline {
            let error = Error::new(ErrorKind::Refused, held);
            return Err(error.with_remedy("`--wait 10m` waits for it; `sexton locks` lists who holds what."));
        }
        if held != told {
            anstream::eprintln!("{held}; waiting");
            told = held;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY.0..RETRY.1))).await;
    }
}

/// Hands signals on to the command, and ends it if the session is lost.
async fn attend(child: &mut Child, locks: &Locks) -> Result<ExitStatus> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let send = |signal: Signal| {
        if let Some(group) = group {
            // It may have ended just now.
            let _ = killpg(group, signal);
        }
    };
    let mut signals = signals()?;
    let mut next = Instant::now() + PING_EVERY;
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status.map_err(waited),
            Some(signal) = signals.recv() => send(signal),
            () = tokio::time::sleep_until(next) => {
                next = Instant::now() + PING_EVERY;
                let alive = tokio::time::timeout(PING_TIMEOUT, locks.ping());
                tokio::select! {
                    status = child.wait() => return status.map_err(waited),
                    answer = alive => if !matches!(answer, Ok(Ok(()))) { break },
                }
            }
        }
    }
    send(Signal::SIGTERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        send(Signal::SIGKILL);
        child.wait().await.map_err(waited)?;
    }
    // What it started may have outlived it.
    send(Signal::SIGKILL);
    Err(Error::new(
        ErrorKind::Unreachable,
        "the session that held the resources was lost, and so the command was ended",
    )
    .with_remedy("Run it again: others may have held the resources since."))
}

/// The signals that are handed on.
fn signals() -> Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, sent) in [
        (SignalKind::terminate(), Signal::SIGTERM),
        (SignalKind::interrupt(), Signal::SIGINT),
        (SignalKind::hangup(), Signal::SIGHUP),
        (SignalKind::quit(), Signal::SIGQUIT),
        (SignalKind::user_defined1(), Signal::SIGUSR1),
        (SignalKind::user_defined2(), Signal::SIGUSR2),
    ] {
        let mut heard = signal(kind)
            .map_err(|cause| Error::new(ErrorKind::Outside, "cannot listen to signals").caused_by(cause))?;
        let sender = sender.clone();
        tokio::spawn(async move { while heard.recv().await.is_some() && sender.send(sent).is_ok() {} });
    }
    Ok(receiver)
}

fn waited(cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Outside, "the command cannot be waited for").caused_by(cause)
}

/// As a shell has it: its own, or 128 and the signal that ended it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}
