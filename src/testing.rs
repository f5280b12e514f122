//! For tests of jobs and kinds: one occurrence of one job, here and now, by the same path as in a replica.
//!
//! The test owns the clock that the kind sees ([`RunContext::now`](crate::kind::RunContext::now)), and may lose the run
//! after a chosen batch, as a crash would: the next call then recovers it. The database's own clock still decides what
//! is due. It needs a database of its own: other replicas there would take part.
//!
//! ```no_run
//! use sexton::{Registry, testing::Occurrence};
//!
//! # async fn example(database: tokio_postgres::Config) -> sexton::Result<()> {
//! let purge = Occurrence::of("audit-logs", database).registry(Registry::with_builtins());
//! let lost = purge.clone().kill_after_batches(2).run().await?;
//! assert_eq!(lost.state, "running"); // nobody has noticed yet
//! let done = purge.run().await?;
//! assert_eq!((done.state.as_str(), done.attempt), ("succeeded", 2));
//! # Ok(())
//! # }
//! ```

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    error::{Error, ErrorKind, Result},
    kind::{Options, Registry},
    protocol::{
        connect::Connector,
        control::Control,
        job::{Job, Need},
        session::Lease,
    },
    runner::{Runner, Shared, drive, execute, plan},
    statements,
};

/// The most that a lost run's session may take to vanish, and another replica's run to end.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// One occurrence of a job.
#[derive(Clone)]
#[must_use]
pub struct Occurrence {
    connector: Connector,
    registry: Registry,
    job: String,
    now: Option<Timestamp>,
    kill_after_batches: Option<u64>,
    options: Options,
    inputs: Value,
    lease: Lease,
}

/// What came of it: the job's last run, as it stands in `sexton.runs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    /// The run's id.
    pub run_id: Uuid,
    /// Its outcome; `running` if the test lost it.
    pub state: String,
    /// `real` or `dry`.
    pub mode: String,
    /// 1 for the first run of the occurrence.
    pub attempt: i32,
    /// Batches that committed.
    pub batches: i64,
    /// Rows that they affected.
    pub rows: i64,
    /// Its report.
    pub report: Option<Value>,
    /// Why it did not succeed.
    pub error: Option<String>,
}

impl Occurrence {
    /// An occurrence of this job: the one that is due, or the run that was lost, or else an extra one.
    pub fn of(job: impl Into<String>, connector: impl Into<Connector>) -> Self {
        Occurrence {
            connector: connector.into(),
            registry: Registry::new(),
            job: job.into(),
            now: None,
            kill_after_batches: None,
            options: Options::default(),
            inputs: json!({}),
            lease: Lease::default(),
        }
    }

    /// The kinds. Default: none.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The instant that the kind takes for now. Default: the database's clock.
    pub fn now(mut self, now: Timestamp) -> Self {
        self.now = Some(now);
        self
    }

    /// Loses the run when it wants to begin the batch after this many. Default: never.
    pub fn kill_after_batches(mut self, batches: u64) -> Self {
        self.kill_after_batches = Some(batches);
        self
    }

    /// Options of an extra occurrence.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Inputs of an extra occurrence: an object.
    pub fn inputs(mut self, inputs: Value) -> Self {
        self.inputs = inputs;
        self
    }

    /// Runs it, and waits for its end.
    ///
    /// # Errors
    /// If the job does not exist, is paused or invalid, or the database is not to be had.
    ///
    /// # Cancel safety
    /// Dropping the future loses the run.
    pub async fn run(self) -> Result<Ran> {
        let runner = Runner::builder(self.connector.clone())
            .registry(self.registry.clone())
            .lease(self.lease)
            .slots(0)
            .name("test")
            .for_test(self.now, self.kill_after_batches)
            .build();
        let mut shared = runner.into_shared();
        let control = Control::open(&shared.connector, &shared.registration).await?;
        shared.installation = Some(control.installation());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let job = self.due_job(&control, &shared).await?;
            match execute::attempt(&shared, job, None, &Notify::new()).await.attempt {
                execute::Attempt::Ran { .. } => return self.last_run().await,
                execute::Attempt::Failed(error) => return Err(error),
                // The lock of a session that was closed a moment ago is still there.
                execute::Attempt::Lost if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                }
                execute::Attempt::Lost => return Err(self.error("somebody else took it")),
            }
        }
    }

    /// Plans what wants to be planned, and waits until the job is due or its lost run is an orphan.
    async fn due_job(&self, control: &Control, shared: &Shared) -> Result<Job> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut asked = false;
        while tokio::time::Instant::now() < deadline {
            let snapshot = control.scan(&shared.registration, &[], &[], i64::from(i16::MAX)).await?;
            let is_it = |job: &&Job| job.candidate.job_name == self.job && job.need != Need::Plan;
            if let Some(job) = snapshot.jobs.iter().find(is_it) {
                return Ok(job.clone());
            }
            let circumstances = plan::Circumstances {
                registry: &shared.registry,
                install_id: control.installation().install_id,
                busy: &HashSet::new(),
            };
            let plan = plan::plan(snapshot, &circumstances, &mut fastrand::Rng::new());
            for decision in &plan.decisions {
                drive::carry_out(control, decision).await?;
            }
            let running = self.last_run().await.is_ok_and(|run| run.state == "running");
            if plan.decisions.is_empty() && !asked && !running {
                self.ask().await?;
                asked = true;
            } else if plan.decisions.is_empty() {
                tokio::time::sleep(POLL).await;
            }
        }
        Err(self.error("it does not come to be due: see sexton.why()"))
    }

    async fn ask(&self) -> Result<()> {
        let session = self.connector.open("sexton/test", &[]).await?;
        let options = serde_json::to_value(&self.options)
            .map_err(|cause| Error::invalid("options cannot be stored").caused_by(cause))?;
        session.client.query_one(statements::RUN_NOW, &[&self.job, &options, &self.inputs]).await?;
        Ok(())
    }

    async fn last_run(&self) -> Result<Ran> {
        let session = self.connector.open("sexton/test", &[]).await?;
        let row = session.client.query_opt(statements::LAST_RUN, &[&self.job]).await?;
        let row = row.ok_or_else(|| self.error("it has not run"))?;
        Ok(Ran {
            run_id: row.get(0),
            state: row.get(1),
            mode: row.get(2),
            attempt: row.get(3),
            batches: row.get(4),
            rows: row.get(5),
            report: row.get(6),
            error: row.get(7),
        })
    }

    fn error(&self, message: &str) -> Error {
        Error::new(ErrorKind::NotFound, message).about(format!("job {}", self.job))
    }
}
