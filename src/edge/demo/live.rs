//! The purge as it runs: how far it is, the kill half way, who takes over, and its end.
//!
//! It reads the same views as anybody would. What is easy to get wrong: between the kill and the takeover the killed run
//! still stands as `running`, so the sign of a takeover is a later attempt, not a state.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    application::{Application, Run},
    processes::Replicas,
    screen::{Bar, Screen, count, seconds},
};
use crate::error::{Error, ErrorKind, Result};

/// How often the view is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most that may pass without anything to see; a takeover takes about a second, a batch much less.
const PATIENCE: Duration = Duration::from_secs(60);

/// A holder that was killed.
struct Killed {
    name: String,
    attempt: i32,
    at: Timestamp,
}

/// A purge, followed to its end.
pub(super) struct Followed {
    /// The run that ended it.
    pub(super) run: Run,
    /// From the kill to the claim of the replica that took over, by the database's clock.
    pub(super) takeover: Duration,
}

/// Follows a purge of about `total` rows, and kills its holder half way.
///
/// # Errors
/// If a replica ends by itself, the purge does not succeed, or it ends before anybody could be killed.
pub(super) async fn follow(
    screen: &Screen,
    application: &Application,
    replicas: &mut Replicas,
    job: &str,
    total: u64,
) -> Result<Followed> {
    let mut bar = screen.bar(total);
    let mut killed: Option<Killed> = None;
    let mut takeover = None;
    let mut moved = (0, Instant::now());
    loop {
        replicas.check()?;
        let run = application.last_run(job).await?;
        let run = run.filter(|run| run.error.is_none()).ok_or_else(|| error("the purge came to nothing"))?;
        bar.at(run.rows, &run.holder);
        match &killed {
            None if run.state == "running" && 2 * run.rows >= total => {
                killed = Some(kill(&bar, application, replicas, &run).await?);
            }
            Some(killed) if takeover.is_none() && run.attempt > killed.attempt => {
                takeover = Some(taken_over(&bar, killed, &run)?);
            }
            _ => {}
        }
        match (run.state.as_str(), takeover) {
            ("running", _) => {}
            ("succeeded", Some(takeover)) => return Ok(Followed { run, takeover }),
            (state, _) => return Err(error(&format!("the purge {state}, which it should not have by now"))),
        }
        if run.rows > moved.0 {
            moved = (run.rows, Instant::now());
        } else if moved.1.elapsed() > PATIENCE {
            return Err(error(&format!("the purge stands still at {} rows", count(run.rows))));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn kill(bar: &Bar, application: &Application, replicas: &mut Replicas, run: &Run) -> Result<Killed> {
    let holder = replicas.remove(&run.holder).ok_or_else(|| error("a stranger holds the job"))?;
    let (name, pid) = (holder.name.clone(), holder.pid);
    let at = application.now().await?;
    holder.kill().await?;
    bar.say(&format!("kill -9 {pid}: {name} is dead, at {} rows", count(run.rows)));
    Ok(Killed { name, attempt: run.attempt, at })
}

fn taken_over(bar: &Bar, killed: &Killed, run: &Run) -> Result<Duration> {
    if run.holder == killed.name {
        return Err(error("a dead replica took over"));
    }
    let takeover = Duration::try_from(run.started_at.duration_since(killed.at))
        .map_err(|cause| error("the job was taken over before its holder was killed").caused_by(cause))?;
    bar.say(&format!("{} took over after {}, and goes on at the cursor", run.holder, seconds(takeover)));
    Ok(takeover)
}

/// Waits for a run of a job that began after `since`.
///
/// # Errors
/// As [`ended_since`].
pub(super) async fn started_since(
    application: &Application,
    replicas: &mut Replicas,
    job: &str,
    since: Timestamp,
) -> Result<Run> {
    run_that(application, replicas, job, |run| run.started_at >= since).await
}

/// Waits until a run of a job ended that began after `since`.
///
/// # Errors
/// If a replica ends by itself, or there is no such run in time.
pub(super) async fn ended_since(
    application: &Application,
    replicas: &mut Replicas,
    job: &str,
    since: Timestamp,
) -> Result<Run> {
    run_that(application, replicas, job, |run| run.started_at >= since && run.state != "running").await
}

async fn run_that(
    application: &Application,
    replicas: &mut Replicas,
    job: &str,
    wanted: impl Fn(&Run) -> bool,
) -> Result<Run> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        replicas.check()?;
        match application.last_run(job).await? {
            Some(run) if wanted(&run) => return Ok(run),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    Err(error("it did not run in time").about(format!("job {job}")))
}

/// Waits until so many replicas are at work.
///
/// # Errors
/// If one ends by itself, or they do not come up in time.
pub(super) async fn all_alive(application: &Application, replicas: &mut Replicas) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        replicas.check()?;
        if application.alive().await? >= replicas.iter().count() as i64 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(error("the replicas did not come up in time"))
}

fn error(message: &str) -> Error {
    Error::new(ErrorKind::Outside, message).about("demo")
}
