//! The kind `command`: starts a program that the replica's local file declares; the job only names it.
//!
//! The program runs in a process group of its own while the run session is kept alive by pings. It has to end when the
//! run has to: SIGTERM to the group, the command's grace, SIGKILL. What is easy to get wrong: a program that goes on after
//! its run was taken over works beside the next one; so it is stopped before anything else is said, and dies with its
//! replica (see `outside::process`).

mod argv;
mod params;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

pub use params::Params;

use crate::{
    error::{Error, ErrorKind},
    kind::{
        Description, Kind, Mode, Nature, Need, ParamError, Report, RunContext, Stop, StopReason, Stopped,
    },
    outside::{
        Command, Outside,
        process::{Ended, How, Process, Start},
    },
};

/// Starts programs of the local file. See `docs/kinds/command.md`.
#[derive(Clone, Debug)]
pub struct Commands {
    outside: Outside,
    helper: Option<PathBuf>,
}

/// How long a program has from SIGTERM to SIGKILL where another replica may have the job already.
const GRACE_IF_LOST: Duration = Duration::from_secs(2);
/// While a program is being stopped, the session is kept alive this often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long the end of a group that was killed may take to be told; a process that hangs in the kernel takes longer.
const AFTER_KILL: Duration = Duration::from_secs(5);
/// From a program's end to that of the job's timeout, so that the run can still say what became of it.
const MARGIN: Duration = Duration::from_secs(1);

impl Commands {
    /// Knows the commands of `outside`. Programs are started directly: a program outlives a replica that is killed, and
    /// one that declares a user or limits is refused. See [`Commands::with_helper`].
    pub fn new(outside: Outside) -> Self {
        Commands { outside, helper: None }
    }

    /// Has programs set up by this one, which must be `sexton` (it calls [`child_exec`](crate::outside::process::child_exec)
    /// first of all).
    #[must_use]
    pub fn with_helper(mut self, sexton: impl Into<PathBuf>) -> Self {
        self.helper = Some(sexton.into());
        self
    }

    fn declared(&self, name: &str) -> Result<Command, Stop> {
        let contents = self.outside.contents();
        contents.commands.get(name).cloned().ok_or_else(|| {
            let known = contents.commands.keys().cloned().collect::<Vec<_>>().join(", ");
            let reason = format!("params.command: this replica has no command {name}; it has: {known}");
            Stop::refused(reason, format!("declare [commands.{name}] in its local file"))
        })
    }

    fn start(&self, context: &RunContext, command: &Command, argv: Vec<String>) -> Result<Start, Stop> {
        if let Some(user) = &command.user
            && !nix::unistd::geteuid().is_root()
        {
            let reason = format!("the command runs as {user}, whose processes this replica could not kill");
            return Err(Stop::refused(
                reason,
                "run the replica as root, or let the command run as the replica",
            ));
        }
        let kept = command.env.iter().filter_map(|name| Some((name.clone(), std::env::var_os(name)?)));
        let told = [
            ("SEXTON_JOB", context.job().to_owned()),
            ("SEXTON_OCCURRENCE", context.occurrence().to_string()),
            ("SEXTON_ATTEMPT", context.attempt().to_string()),
            ("SEXTON_TOKEN", context.token()),
            ("SEXTON_IDEMPOTENCY_KEY", context.idempotency_key("command")),
        ];
        Ok(Start {
            argv,
            cwd: command.cwd.clone().unwrap_or_else(|| Path::new("/").to_owned()),
            env: kept.chain(told.map(|(name, value)| (name.to_owned(), value.into()))).collect(),
            user: command.user.clone(),
            limits: command.limits.clone(),
            helper: self.helper.clone(),
        })
    }
}

impl Kind for Commands {
    type Params = Params;

    fn name(&self) -> &'static str {
        "command"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Starts a program that the replica's local file declares; the job only names it.",
            nature: Nature::Outside,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    fn needs(&self, params: &Params) -> Vec<Need> {
        vec![Need::Command(params.command.clone())]
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let command = self.declared(&params.command)?;
        let argv = argv::fill(context, &params, &command)?;
        let start = self.start(context, &command, argv)?;
        let report = Report::new(Stopped::Drained).with("command", params.command.as_str());
        if context.mode() == Mode::Dry {
            return Ok(report.with("would_start", start.argv));
        }
        // The token is shown outside only while it is ours.
        context.ping().await?;
        let (since, until) = (Instant::now(), time_for(context, command.grace));
        let mut process = Process::start(&start).await.map_err(|error| not_started(&params, error))?;
        context.progress(&json!({ "pid": process.id() })).await?;
        let ended = context.keep_while(tokio::time::timeout(until, process.ended())).await;
        let stop = match ended {
            Ok(Ok(ended)) => return judge(&params, report, &ended.map_err(Stop::Failed)?, since.elapsed()),
            Ok(Err(_)) => Stop::TimedOut,
            Err(stop) => stop,
        };
        let ended = end(context, &mut process, &stop, command.grace).await;
        if !is_lost(&stop) {
            // The outcome has no report; so what it wrote is left where people look for how far a run got. Why the run
            // stops matters more than whether that can be written.
            let said = Value::Object(details(&params, "stopped", ended.as_ref(), since.elapsed()));
            let _ = context.progress(&said).await;
        }
        Err(stop)
    }
}

/// How long the program may take: the job's timeout, less what stopping it takes; at the least half of it.
fn time_for(context: &RunContext, grace: Duration) -> Duration {
    let left = context.time_left().unwrap_or(Duration::MAX);
    left.saturating_sub(grace + MARGIN).max(left / 2)
}

/// Whether another replica may have the job already, and this run's row is not ours any more.
fn is_lost(stop: &Stop) -> bool {
    matches!(stop, Stop::Lost(_) | Stop::Fenced(StopReason::Gone | StopReason::Superseded))
}

/// Ends the program: SIGTERM to its group, a grace, SIGKILL. The session is kept alive meanwhile, if it is still ours.
async fn end(context: &mut RunContext, process: &mut Process, stop: &Stop, grace: Duration) -> Option<Ended> {
    process.terminate();
    let lost = is_lost(stop);
    let grace = if lost { grace.min(GRACE_IF_LOST) } else { grace };
    let deadline = tokio::time::Instant::now() + grace;
    loop {
        tokio::select! {
            biased;
            ended = process.ended() => return ended.ok(),
            () = tokio::time::sleep_until(deadline) => break,
            () = tokio::time::sleep(PING_EVERY), if !lost => {}
        }
        // Why the run must stop is known; this is for the session alone.
        let _ = tokio::time::timeout_at(deadline, context.ping()).await;
    }
    process.kill();
    tokio::time::timeout(AFTER_KILL, process.ended()).await.ok().and_then(Result::ok)
}

/// The report of a program that ended by itself, or what went wrong.
fn judge(params: &Params, report: Report, ended: &Ended, took: Duration) -> Result<Report, Stop> {
    let name = &params.command;
    let (word, error) = match ended.how {
        How::Exited(code) if params.success_codes.contains(&code) => {
            let mut report = report;
            report.details.extend(details(params, "succeeded", Some(ended), took));
            return Ok(report);
        }
        How::Exited(_) if ended.stderr.text().starts_with("sexton child-exec: ") => {
            ("not_started", format!("command {name} could not be started"))
        }
        How::Exited(code) => ("failed", format!("command {name} exited with code {code}")),
        How::Signalled(signal) => ("crashed", format!("command {name} was ended by {}", signal_name(signal))),
    };
    let said = ended.stderr.text();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let last: String = last.trim().chars().take(200).collect();
    let message = if last.is_empty() { error } else { format!("{error}: {last}") };
    let error = Error::new(ErrorKind::Outside, message)
        .with_remedy("its output is in the report: sexton show gives the run");
    Err(Stop::Unexpected { error, details: details(params, word, Some(ended), took) })
}

/// What is said of a program, whatever became of it.
fn details(params: &Params, word: &str, ended: Option<&Ended>, took: Duration) -> Map<String, Value> {
    let mut details = Map::new();
    let mut add = |name: &str, value: Value| drop(details.insert(name.to_owned(), value));
    add("command", params.command.as_str().into());
    add("ended", word.into());
    add("seconds", ((took.as_secs_f64() * 1000.0).round() / 1000.0).into());
    let Some(ended) = ended else { return details };
    match ended.how {
        How::Exited(code) => add("exit_code", code.into()),
        How::Signalled(signal) => add("signal", signal_name(signal).into()),
    }
    for (name, kept) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        add(name, kept.text().into());
        add(&format!("{name}_cut_bytes"), kept.cut().into());
    }
    details
}

fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

fn not_started(params: &Params, error: Error) -> Stop {
    Stop::Failed(error.about(format!("command {}", params.command)))
}
