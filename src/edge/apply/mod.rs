//! `sexton apply`: makes the jobs of one application what its files say, in one transaction.
//!
//! It sees and touches the jobs of its own `app` alone, and never what operators own: pauses, arming by hand, `due_at`.
//! A dry run does all of it and rolls back, so that what the database would refuse shows too. What is easy to get wrong:
//! every replica of a deployment may apply at once, so it must write nothing where nothing is new.

mod decide;
mod render;
mod refused;

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use self::decide::{Decision, decide};
pub use self::{
    decide::{Change, Field},
    render::render,
};
use super::{
    config::{Config, Job, Problems},
    migrate,
};
use crate::{
    error::{Error, ErrorKind, Result},
    protocol::{
        author::{Author, Definitions, Step},
        connect::Connector,
    },
};

/// How long to wait for another apply in the same database.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// What becomes of jobs that are gone from the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prune {
    /// They are paused and marked.
    #[default]
    Keep,
    /// They are deleted; their history stays.
    Delete,
}

/// What becomes of jobs that were edited by hand since they were applied last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They are left alone.
    #[default]
    Nothing,
    /// They get the files' values.
    HandEdits,
}

/// How to apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Default: keep.
    pub prune: Prune,
    /// Default: nothing.
    pub overwrite: Overwrite,
}

/// What was done, or with [`plan`] would be.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Whose jobs.
    pub app: String,
    /// The generation of the files, if they are numbered.
    pub generation: Option<i64>,
    /// Whether it was made so; false for [`plan`].
    pub committed: bool,
    /// Each job of the files, then those that are gone from them; by name.
    pub jobs: Vec<JobOutcome>,
}

/// What was done with one job.
#[derive(Clone, Debug, Serialize)]
pub struct JobOutcome {
    /// Its name.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub change: Change,
    /// Whether it was armed; none if there was nothing to do.
    pub arming: Option<Arming>,
    /// Whether it had been gone and is in the files again: its mark is gone, and its pause if that was apply's.
    pub taken_back: bool,
    /// Whether it was made due, as an `at deploy` job to which this deployment is new.
    pub due: bool,
}

/// What became of `armed = true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arming {
    /// The present revision is armed now.
    Armed,
    /// A person disarmed it by hand, which stays.
    StaysDisarmed {
        /// Who.
        by: String,
    },
}

impl Outcome {
    /// How many jobs were edited by hand and so left alone. Above 0 the command exits with 3.
    pub fn left_alone(&self) -> usize {
        self.jobs.iter().filter(|job| matches!(job.change, Change::LeftAlone { .. })).count()
    }
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something in the files is wrong, as the database sees it.
    #[error("{0}")]
    Problems(Problems),
    /// Anything else.
    #[error(transparent)]
    Error(#[from] Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Problems(problems) => problems.into(),
            Failure::Error(error) => error,
        }
    }
}

/// What [`execute`] would do: does it and rolls back.
///
/// # Errors
/// As [`execute`].
///
/// # Cancel safety
/// Nothing is written in any case.
pub async fn plan(connector: &Connector, config: &Config, options: &Options) -> Result<Outcome, Failure> {
    run(connector, config, options, Ending::RollBack).await
}

/// Makes the jobs what the files say: all of them, or none if the database refuses one.
///
/// # Errors
/// [`Failure::Problems`] for jobs that belong to another application, and for all that the database refuses, each at its
/// place in the files; [`ErrorKind::Refused`] for an older generation than was applied before; [`ErrorKind::Schema`]
/// with the remedy if the schema is not there.
///
/// # Cancel safety
/// If the future is dropped, all of it was done or nothing.
pub async fn execute(connector: &Connector, config: &Config, options: &Options) -> Result<Outcome, Failure> {
    run(connector, config, options, Ending::Commit).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Commit,
    RollBack,
}

async fn run(
    connector: &Connector,
    config: &Config,
    options: &Options,
    ending: Ending,
) -> Result<Outcome, Failure> {
    // No settings: the target tables are looked up on the search_path that this role has anyway.
    let mut opened = connector.open("sexton/apply", &[]).await?;
    migrate::check(&opened.client).await?.may_run()?;
    let mut author = Author::begin(&mut opened.client).await?;
    lock(&author).await?;
    let definitions =
        Value::Array(config.jobs().iter().map(|job| Value::Object(job.columns().clone())).collect());
    let found = author.read(config.app(), &definitions).await.map_err(refused::without_rights)?;
    check_generation(config, &found)?;
    let decisions = match decide(config.app(), &found, options) {
        Ok(decisions) => decisions,
        Err(strangers) => return Err(Failure::Problems(refused::strangers(config, &strangers))),
    };
    let mut problems = Vec::new();
    for decision in &decisions {
        for step in steps(config, decision) {
            if let Err(error) = author.take(step).await {
                problems.push(refused::explain(config, decision.name, error)?);
            }
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Problems(config.problems(problems)));
    }
    let jobs = settle(&author, config, &definitions, &decisions).await?;
    match ending {
        Ending::Commit => author.commit().await?,
        Ending::RollBack => author.roll_back().await?,
    }
    let committed = ending == Ending::Commit;
    Ok(Outcome { app: config.app().to_owned(), generation: config.generation(), committed, jobs })
}

async fn lock(author: &Author<'_>) -> Result<()> {
    let started = Instant::now();
    while !author.try_lock().await.map_err(refused::without_rights)? {
        if started.elapsed() >= LOCK_TIMEOUT {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("another apply goes on for {LOCK_TIMEOUT:?}"),
            )
            .with_remedy("look for application_name sexton/apply in pg_stat_activity"));
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..60))).await;
    }
    Ok(())
}

fn check_generation(config: &Config, found: &Definitions) -> Result<()> {
    let own = found.table.iter().filter(|row| row.app == config.app());
    let (Some(ours), Some(stored)) = (config.generation(), own.filter_map(|row| row.generation).max()) else {
        return Ok(());
    };
    if ours >= stored {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!("generation {ours} is older than {stored}, which was applied before"),
    )
    .about(format!("app {}", config.app()))
    .with_remedy("deploy the newer file, or give this one a higher generation"))
}

/// What a decision comes down to.
fn steps<'a>(config: &'a Config, decision: &Decision<'a>) -> Vec<Step<'a>> {
    let (name, app) = (decision.name, config.app());
    let definition = job_of(config, name).map(|job| Value::Object(job.columns().clone()));
    let mut steps = match (&decision.change, definition) {
        (Change::Created, Some(definition)) => vec![Step::Create(definition)],
        (Change::Changed { .. } | Change::Overwritten { .. }, Some(definition)) => {
            vec![Step::Edit(definition)]
        }
        (Change::Removed, _) => vec![Step::MarkRemoved { name, app }],
        (Change::Deleted, _) => vec![Step::Delete { name }],
        _ => Vec::new(),
    };
    if is_taken_back(decision) {
        steps.push(Step::TakeBack { name, app });
    }
    steps
}

fn is_taken_back(decision: &Decision<'_>) -> bool {
    follows_file(&decision.change) && decision.row.is_some_and(|row| row.removed)
}

/// Whether the row is now as the file has it.
fn follows_file(change: &Change) -> bool {
    matches!(
        change,
        Change::Created | Change::Changed { .. } | Change::Unchanged | Change::Overwritten { .. }
    )
}

fn job_of<'a>(config: &'a Config, name: &str) -> Option<&'a Job> {
    config.jobs().iter().find(|job| job.name() == name)
}

/// Arms, makes due, and remembers what was applied: as the row has it now, after the trigger's say.
async fn settle(
    author: &Author<'_>,
    config: &Config,
    definitions: &Value,
    decisions: &[Decision<'_>],
) -> Result<Vec<JobOutcome>> {
    let written = author.read(config.app(), definitions).await?;
    let deployment = deployment(config, definitions);
    let mut outcomes = Vec::new();
    for decision in decisions {
        let (name, change) = (decision.name, decision.change.clone());
        let taken_back = is_taken_back(decision);
        let mut outcome = JobOutcome { name: name.to_owned(), change, arming: None, taken_back, due: false };
        if let Some(job) = job_of(config, name) {
            let row = written.table.iter().find(|row| row.name == name);
            let applied = row.map(|row| &row.columns).filter(|_| follows_file(&decision.change));
            author.note_applied(name, applied, config.generation()).await?;
            if applied.is_some() {
                outcome.arming = arm(author, job, row.is_some_and(|row| row.armed), decision).await?;
                outcome.due = job.runs_at_deploy() && author.deployed(name, &deployment).await?;
            }
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn arm(author: &Author<'_>, job: &Job, armed: bool, decision: &Decision<'_>) -> Result<Option<Arming>> {
    if !job.is_armed() || armed {
        return Ok(None);
    }
    if author.arm(job.name()).await? {
        return Ok(Some(Arming::Armed));
    }
    let by = decision.row.and_then(|row| row.disarmed_by.clone()).unwrap_or_else(|| "somebody".to_owned());
    Ok(Some(Arming::StaysDisarmed { by }))
}

/// What tells this deployment from others: the generation, or a hash of all definitions.
fn deployment(config: &Config, definitions: &Value) -> String {
    match config.generation() {
        Some(generation) => format!("generation:{generation}"),
        None => format!("file:{:016x}", fnv1a(definitions.to_string().as_bytes())),
    }
}

/// FNV-1a with 64 bits: the standard library's hash may change with its version, and deployments would look new.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
