//! What a run is given: what it is for, and the only ways to act.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use tokio_postgres::{
    Row, Statement,
    types::{ToSql, Type},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::{Error, ErrorKind},
    kind::{
        elsewhere::{Databases, Keeper},
        options::Options,
        watch::Watch,
    },
    protocol::{
        connect::Connector,
        fence::{Batch, Commits},
        held::Held,
        resource::{Taken, Wanted},
        run::{Mode, Stop},
        schedule::Schedule,
        slices::Slices,
        transaction::FencedTransaction,
        watch::Watcher,
    },
};

/// After how many batches, of all its sessions, a test wants to lose the run.
pub(crate) type BatchesLeft = Option<Arc<AtomicU64>>;

/// What a run is for and by which it acts. Owned by the runner, lent to the kind.
pub struct RunContext {
    pub(crate) held: Held,
    /// For sessions besides the run's own; see [`RunContext::watch`].
    pub(crate) connector: Connector,
    pub(crate) databases: Databases,
    /// The job's own `database`, if it has one; see [`RunContext::work_in`].
    pub(crate) job_database: Option<String>,
    pub(crate) keeper: Option<Keeper>,
    /// Cancelled when the run's own session is found lost while the work is elsewhere.
    pub(crate) home_lost: CancellationToken,
    pub(crate) drain: CancellationToken,
    pub(crate) options: Options,
    pub(crate) inputs: BTreeMap<String, Value>,
    pub(crate) input_types: BTreeMap<String, String>,
    pub(crate) now: Timestamp,
    pub(crate) schedule: Option<Schedule>,
    /// When the job's `timeout` is over; `None` if never.
    pub(crate) ends: Option<Instant>,
    pub(crate) batches_left: BatchesLeft,
}

impl RunContext {
    /// The job's name.
    pub fn job(&self) -> &str {
        &self.held.claim().job_name
    }

    /// The run's id: for logs. It changes with each attempt; see [`RunContext::idempotency_key`] for what does not.
    pub fn run_id(&self) -> Uuid {
        self.held.claim().run_id
    }

    /// What the run is for: the scheduled instant, unchanged by retries.
    pub fn occurrence(&self) -> Timestamp {
        self.held.claim().occurrence
    }

    /// 1 for the first run of an occurrence.
    pub fn attempt(&self) -> u32 {
        self.held.claim().attempt
    }

    /// Whether the run writes, or only reports what it would.
    pub fn mode(&self) -> Mode {
        self.held.claim().mode
    }

    /// The database's clock at the claim; in tests, the test's own. A kind takes all its "now" from here, and keeps
    /// what it derives from it (a cutoff) in its cursor, so that the next attempt means the same.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How long until the job's `timeout` ends the attempt; `None` if never.
    pub fn time_left(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(tokio::time::Instant::now()))
    }

    /// The longest time between two regular runs of this job, from now on; `None` if no run follows another by its
    /// schedule. Some milliseconds of work for a schedule with many instants a day.
    pub fn longest_gap(&self) -> Option<SignedDuration> {
        self.schedule.as_ref()?.longest_gap(self.now)
    }

    /// The options of this occurrence.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The declared inputs of this occurrence.
    pub fn inputs(&self) -> &BTreeMap<String, Value> {
        &self.inputs
    }

    /// The declared types of the inputs: `{"tenant": "bigint"}`.
    pub fn input_types(&self) -> &BTreeMap<String, String> {
        &self.input_types
    }

    /// The rows that an operator approved for one run of this revision (`sexton arm JOB --approve ROWS`).
    pub fn approved_rows(&self) -> Option<u64> {
        self.held.claim().approved_rows
    }

    /// The schema-qualified, quoted name of `params.table`, as it was resolved when the job was saved, and its oid.
    pub fn target(&self) -> Option<(&str, u32)> {
        let claim = self.held.claim();
        Some((claim.target_name.as_deref()?, claim.target_oid?))
    }

    /// The installation: the same for all replicas of a database, another in a copy of it that was adopted.
    pub fn install_id(&self) -> Uuid {
        self.held.claim().install_id
    }

    /// The fencing token for the outside, `epoch.version`: it grows with every change of holder.
    pub fn token(&self) -> String {
        format!("{}.{}", self.held.claim().epoch, self.held.claim().version)
    }

    /// The key under which the outside may recognize a repetition of `step`: the same for each attempt of an occurrence.
    pub fn idempotency_key(&self, step: &str) -> String {
        let claim = self.held.claim();
        format!("sexton/{}/{}/{}/{step}", claim.install_id, claim.job_id, claim.occurrence.as_microsecond())
    }

    /// The revision of the job's definition that the run has.
    pub fn revision(&self) -> i64 {
        self.held.claim().revision
    }

    /// How many batches this run, or the part of it that a worker has, has committed: the number of the next one.
    pub fn batches(&self) -> u64 {
        self.held.seq().unsigned_abs()
    }

    /// The job's id: never used for another one.
    pub fn job_id(&self) -> i64 {
        self.held.claim().job_id
    }

    /// As [`RunContext::idempotency_key`], but the same for each occurrence too: for something that is done once in its
    /// life, such as the calls for a row that goes, however often they must be made.
    pub fn lasting_key(&self, step: &str) -> String {
        let claim = self.held.claim();
        format!("sexton/{}/{}/{step}", claim.install_id, claim.job_id)
    }

    /// Where the last committed batch of this occurrence left off, by whichever attempt; `None` at its beginning.
    ///
    /// # Errors
    /// If the stored cursor is not of this shape.
    pub fn cursor<C: DeserializeOwned>(&self) -> Result<Option<C>, Stop> {
        let Some(cursor) = self.held.cursor() else { return Ok(None) };
        serde_json::from_value(cursor.clone()).map(Some).map_err(|cause| {
            Stop::Failed(
                Error::new(ErrorKind::Invalid, "the stored cursor is of another shape").caused_by(cause),
            )
        })
    }

    /// Reads, where the work is done: each statement a transaction of its own.
    ///
    /// # Errors
    /// [`Stop::Drained`] when this replica shuts down; whatever the database reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session in doubt: the run is over.
    pub async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        self.stop_if_draining()?;
        self.held.query(sql, params).await
    }

    /// Reads, with the types of the parameters given instead of inferred by the server.
    ///
    /// # Errors
    /// As [`RunContext::query`].
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn query_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Stop> {
        self.stop_if_draining()?;
        self.held.query_typed(sql, params).await
    }

    /// Has the server parse a statement without executing it: which types its parameters and columns have.
    ///
    /// # Errors
    /// As [`RunContext::query`].
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn describe(&mut self, sql: &str) -> Result<Statement, Stop> {
        self.stop_if_draining()?;
        self.held.describe(sql).await
    }

    /// Sets how long a statement of this run may take from now on; `None` is the default of run sessions again
    /// (5 minutes). Whoever sets it also sets it back, since the run's end is written on the same session; hence it
    /// works during a shutdown too.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn limit_statements(&mut self, limit: Option<Duration>) -> Result<(), Stop> {
        self.held.limit_statements(limit).await
    }

    /// Says whether the commits of this run's batches wait for the disk; they do ([`Commits::Durable`]) unless told
    /// otherwise. In another database they always do. Relaxed is right where a batch may as well be done again, since nobody outside was told of it. No
    /// effect on [`RunContext::begin`].
    pub fn commits(&mut self, commits: Commits) {
        self.held.commits = commits;
    }

    /// One batch as one statement and one transaction, the best kind of batch: `effect` is an INSERT, UPDATE or DELETE
    /// with `RETURNING` (any columns; its rows are counted), with `$1…` for `params`. It commits together with
    /// `cursor` as the new position, or not at all.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job: nothing was written. [`Stop::Drained`] when this replica
    /// shuts down. Contention is no error but [`Batch::Undone`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the batch committed: the run is over on this replica, and the next
    /// attempt reads from the database which it was.
    pub async fn batch(
        &mut self,
        effect: &str,
        params: &[&(dyn ToSql + Sync)],
        cursor: &impl Serialize,
    ) -> Result<Batch, Stop> {
        self.stop_before_batch()?;
        let cursor = to_json(cursor)?;
        self.held.batch(effect, params, cursor).await
    }

    /// Whether these slices are the batch that was begun behind the last one's commit ([`Slices::next`]).
    pub fn is_begun(&self, slices: &Slices<'_>) -> bool {
        self.held.is_begun(slices)
    }

    /// One batch as a transaction of one or more [`Slices`], each a statement *without* `RETURNING`: the server's own
    /// count of its rows is the batch's. Quicker by a quarter than [`RunContext::batch`] for a DELETE of many rows, since
    /// RETURNING reads each of them a second time; but while it is under way, a frozen client holds its row locks until
    /// the server ends it (5 s).
    ///
    /// # Errors
    /// As [`RunContext::batch`].
    ///
    /// # Cancel safety
    /// As [`RunContext::batch`].
    pub async fn batch_in_slices(
        &mut self,
        slices: &Slices<'_>,
        cursor: &impl Serialize,
    ) -> Result<Batch, Stop> {
        self.stop_before_batch()?;
        let cursor = to_json(cursor)?;
        self.held.batch_in_slices(slices, cursor).await
    }

    /// A batch of several statements. Prefer [`RunContext::batch`]: while a transaction is open, a frozen client holds
    /// its row locks until the server ends it (15 s).
    ///
    /// # Errors
    /// As [`RunContext::batch`].
    ///
    /// # Cancel safety
    /// Dropping the transaction takes it back.
    pub async fn begin(&mut self) -> Result<FencedTransaction<'_>, Stop> {
        self.stop_before_batch()?;
        self.held.begin().await
    }

    /// An eye on this run, for statements that may take longer than a person who cancels it wants to wait.
    pub fn watch(&self) -> Watch {
        Watch::new(Watcher::of(&self.held, self.connector.clone()))
    }

    /// Stores a position without an effect.
    ///
    /// # Errors
    /// As [`RunContext::batch`].
    ///
    /// # Cancel safety
    /// As [`RunContext::batch`].
    pub async fn checkpoint(&mut self, cursor: &impl Serialize) -> Result<(), Stop> {
        let transaction = self.begin().await?;
        transaction.commit(0, cursor).await
    }

    /// Says how far the run is, for people: `sexton watch` shows it.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn progress(&mut self, progress: &impl Serialize) -> Result<(), Stop> {
        let progress = to_json(progress)?;
        self.held.note_progress(&progress).await
    }

    /// Takes a resource for the time of `work`, for itself alone or shared (a bare name: for itself); waits for it up to
    /// `patience`, trying again and again. Whatever becomes of this replica, the resource is free again with its session.
    ///
    /// One that the job names already, and so holds from its claim on, is taken once more: that succeeds at once, and
    /// wanting for itself alone what the job shares waits for the others who share it. Whoever takes several, one within
    /// the other, does so in the same order everywhere, or two runs wait for one another until their patience ends.
    ///
    /// # Errors
    /// [`Stop::Failed`] if another held it all the time, and in a worker; otherwise those of `work`.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn with_resource<T>(
        &mut self,
        wanted: impl Into<Wanted>,
        patience: Duration,
        work: impl AsyncFnOnce(&mut RunContext) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        self.not_in_a_worker("take a resource")?;
        let wanted = wanted.into();
        let deadline = Instant::now() + patience;
        while let Taken::Held { behind, .. } = self.held.take_resource(&wanted).await? {
            if Instant::now() >= deadline {
                let message =
                    format!("resource {wanted} was held by another for all of {patience:?}: {behind}");
                return Err(Stop::Failed(Error::new(ErrorKind::Refused, message)));
            }
            self.rest(Duration::from_millis(fastrand::u64(100..300))).await?;
        }
        let done = work(self).await;
        self.held.give_resource(&wanted).await?;
        done
    }

    /// Also loses the run here where a test wants that.
    pub(super) fn stop_before_batch(&mut self) -> Result<(), Stop> {
        if let Some(left) = &self.batches_left {
            let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if taken.is_err() {
                return Err(Stop::Lost(Error::new(ErrorKind::Unreachable, "lost, as the test wanted")));
            }
        }
        self.stop_if_draining()
    }

    pub(super) fn stop_if_draining(&self) -> Result<(), Stop> {
        if self.drain.is_cancelled() { Err(Stop::Drained) } else { Ok(()) }
    }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Value, Stop> {
    serde_json::to_value(value).map_err(|cause| {
        Stop::Failed(Error::new(ErrorKind::Invalid, "cannot be stored as JSON").caused_by(cause))
    })
}
