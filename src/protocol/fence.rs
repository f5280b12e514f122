//! The fenced transaction: the one way in which a run's work is committed.
//!
//! `Held` is a claim together with the session that holds its lock. Each batch ends with `sexton.fence(…)`, which
//! commits the batch's progress with its effect or takes the effect back. The fence comes last, not first: the job's
//! row is share-locked only from the fence to the commit, so an operator never waits for a batch (measured on the
//! prototype: `kill()` returned in 2 ms during a batch of 1 s).
//!
//! What is easy to get wrong: tokio-postgres' `commit()` says `Ok` when the server answered ROLLBACK, so a fence that
//! failed before it would pass unnoticed (rust-postgres#1334). Here fence and COMMIT leave in one flight, the fence's
//! own answer decides, and no client stands between the two.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_postgres::{
    Row, Statement,
    types::{ToSql, Type},
};

use super::{
    claim::Claim,
    connect::Canceler,
    resource::Wanted,
    run::{Stop, StopReason},
    session::{RunSession, STATEMENT_TIMEOUT},
    transaction::FencedTransaction,
    worker::{CancelOnDrop, Part},
};
use crate::{
    error::{Error, ErrorKind},
    failpoint::failpoint,
    statements,
};

/// The part of a run that its own session works on; see `worker` for the others.
const OWN_PART: i32 = 0;

/// Whether the commit of a batch waits until the disk has it. The end of a run always does, and with it all that was
/// committed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Commits {
    /// It waits, as the server's `synchronous_commit` says.
    #[default]
    Durable,
    /// It does not. A server that crashes may undo the last batches (those of about 0.6 s: three times
    /// `wal_writer_delay`), each whole: its effect with its cursor and its sequence, so that the next run does it again.
    Relaxed,
}

/// What became of a batch.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// It is committed, and so is the cursor.
    Committed {
        /// Rows affected.
        rows: u64,
        /// From sending the statement to its commit.
        took: Duration,
        /// Of that, the fence and the commit, which no smaller batch makes shorter; 0 where they are not told apart.
        commit: Duration,
    },
    /// Nothing of it happened; the same batch may be tried again.
    Undone(Undone),
}

/// Why a batch was taken back though the run still holds its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The application held a lock for longer than `lock_timeout` (200 ms).
    LockTimeout,
    /// It took longer than `statement_timeout`, or somebody cancelled the statement.
    StatementTimeout,
    /// A deadlock, or a conflict of serializable transactions.
    Conflict,
}

/// A claim, and the session that holds its lock and does its work.
pub(crate) struct Held {
    claim: Claim,
    pub(super) session: RunSession,
    /// The part of the run that batches are of.
    pub(super) part: i32,
    pub(super) cursor: Option<Value>,
    pub(super) seq: i64,
    /// The run's other parts, by their numbers; a worker has none.
    pub(super) parts: BTreeMap<i32, Part>,
    /// Of a worker's.
    pub(super) cancel: Option<CancelOnDrop>,
    /// The resources that the run holds, in the order of taking; a worker has none.
    pub(super) resources: Vec<Wanted>,
    pub(super) state: Transaction,
    /// Whether its batches wait for the disk.
    pub(crate) commits: Commits,
}

/// What is known of the session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    /// None is open.
    None,
    /// One is open that nobody will finish: it was dropped.
    Abandoned,
    /// A future was dropped while the server worked for it: what became of it is not known.
    InDoubt,
}

impl Held {
    /// The run's own, with the parts that it inherits.
    pub(crate) fn new(
        claim: Claim,
        session: RunSession,
        mut parts: BTreeMap<i32, Part>,
        resources: Vec<Wanted>,
    ) -> Self {
        let Part { cursor, seq } = parts.remove(&OWN_PART).unwrap_or_default();
        Held {
            claim,
            session,
            part: OWN_PART,
            cursor,
            seq,
            parts,
            cancel: None,
            resources,
            state: Transaction::None,
            commits: Commits::Durable,
        }
    }

    /// A worker's, with no part yet.
    pub(super) fn of_worker(
        claim: Claim,
        session: RunSession,
        commits: Commits,
        cancel: CancelOnDrop,
    ) -> Self {
        Held { commits, cancel: Some(cancel), ..Held::new(claim, session, BTreeMap::new(), Vec::new()) }
    }

    /// Whether it holds anything that others may wait for.
    pub(crate) fn holds_resources(&self) -> bool {
        !self.resources.is_empty()
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn cursor(&self) -> Option<&Value> {
        self.cursor.as_ref()
    }

    /// The session, if it is fit for one more transaction, and the claim: to finish the run.
    pub(crate) fn into_parts(mut self) -> (Claim, RunSession, SessionState) {
        self.claim.batches = self.seq + self.parts.values().map(|part| part.seq).sum::<i64>();
        let state = match self.state {
            Transaction::None if !self.session.is_closed() => SessionState::Fit,
            _ => SessionState::InDoubt,
        };
        (self.claim, self.session, state)
    }

    pub(crate) async fn query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let rows = match self.session.prepare(sql, &[]).await {
            Ok(statement) => self.session.client().query(&statement, params).await,
            Err(error) => Err(error),
        };
        self.state = Transaction::None;
        Ok(rows?)
    }

    pub(crate) async fn query_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let rows = self.session.client().query_typed(sql, params).await;
        self.state = Transaction::None;
        Ok(rows?)
    }

    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Statement, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let statement = self.session.client().prepare(sql).await;
        self.state = Transaction::None;
        Ok(statement?)
    }

    pub(crate) async fn limit_statements(&mut self, limit: Option<Duration>) -> Result<(), Stop> {
        let limit = limit.unwrap_or(STATEMENT_TIMEOUT).as_millis().max(1).to_string();
        self.query(statements::LIMIT_STATEMENTS, &[&limit]).await.map(drop)
    }

    /// One autocommit statement: the effect as a CTE, the fence over its count.
    pub(crate) async fn batch(
        &mut self,
        effect: &str,
        params: &[&(dyn ToSql + Sync)],
        cursor: Value,
    ) -> Result<Batch, Stop> {
        self.settle_abandoned().await?;
        let sql = with_fence(effect, params.len(), self.commits);
        let fence = (self.claim.job_id, self.claim.version, self.claim.run_id, self.part, self.seq);
        let mut all: Vec<&(dyn ToSql + Sync)> = params.to_vec();
        all.extend([&fence.0 as &(dyn ToSql + Sync), &fence.1, &fence.2, &fence.3, &fence.4, &cursor]);
        failpoint!("batch.before");
        self.state = Transaction::InDoubt;
        let statement = match self.session.prepare(&sql, &[]).await {
            Ok(statement) => statement,
            Err(error) => return self.undone(error).map(Batch::Undone),
        };
        let started = Instant::now();
        let answer = self.session.client().query_one(&statement, &all).await;
        let took = started.elapsed();
        failpoint!("batch.committed");
        match answer {
            Ok(row) => {
                self.state = Transaction::None;
                self.advance(cursor);
                let rows = row.get::<_, i64>(0).unsigned_abs();
                Ok(Batch::Committed { rows, took, commit: Duration::ZERO })
            }
            Err(error) => self.undone(error).map(Batch::Undone),
        }
    }

    /// A statement that cannot run in a transaction; why it was undone, if it was.
    pub(crate) async fn unfenced(&mut self, sql: &str) -> Result<Option<Undone>, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        if let Err(error) = self.session.client().query_typed(sql, &[]).await {
            return self.undone(error).map(Some);
        }
        self.state = Transaction::None;
        Ok(None)
    }

    /// The effect, then the fence with the number of rows that the server counted: a transaction in two flights.
    pub(crate) async fn batch_in_two(
        &mut self,
        effect: &str,
        params: &[&(dyn ToSql + Sync)],
        cursor: Value,
    ) -> Result<Batch, Stop> {
        self.settle_abandoned().await?;
        failpoint!("batch.before");
        self.state = Transaction::InDoubt;
        let statement = match self.session.prepare(effect, &[]).await {
            Ok(statement) => statement,
            Err(error) => return self.undone(error).map(Batch::Undone),
        };
        let started = Instant::now();
        let client = self.session.client();
        let begin = begin_batch(self.session.half_done(), self.commits);
        let (begun, affected) =
            futures_util::join!(client.batch_execute(&begin), client.execute(&statement, params));
        begun?;
        let rows = match affected {
            Ok(rows) => rows,
            Err(error) => {
                client.batch_execute("ROLLBACK").await?;
                return self.undone(error).map(Batch::Undone);
            }
        };
        let done = started.elapsed();
        match self.fence_and_commit(rows, cursor).await? {
            Ok(()) => {
                let took = started.elapsed();
                Ok(Batch::Committed { rows, took, commit: took - done })
            }
            Err(error) => self.undone(error).map(Batch::Undone),
        }
    }

    pub(crate) async fn begin(&mut self) -> Result<FencedTransaction<'_>, Stop> {
        self.settle_abandoned().await?;
        failpoint!("batch.before");
        self.state = Transaction::Abandoned;
        self.session.client().batch_execute("BEGIN").await?;
        Ok(FencedTransaction { held: self })
    }

    /// Sends the fence and the COMMIT in one flight, with no client between the two. The inner error is the fence's:
    /// the transaction is then rolled back.
    pub(super) async fn fence_and_commit(
        &mut self,
        rows: u64,
        cursor: Value,
    ) -> Result<Result<(), tokio_postgres::Error>, Stop> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let (part, seq) = (self.part, self.seq);
        let statement = self.session.prepare(statements::FENCE, &[]).await?;
        failpoint!("batch.fence");
        self.state = Transaction::InDoubt;
        let client = self.session.client();
        let params: [&(dyn ToSql + Sync); 7] = [&job, &version, &run, &part, &seq, &rows, &cursor];
        // Both leave before either is answered. If the fence raises, the COMMIT behind it is a ROLLBACK.
        let (fenced, committed) =
            futures_util::join!(client.query_one(&statement, &params), client.batch_execute("COMMIT"));
        failpoint!("batch.committed");
        if let Err(error) = fenced {
            if error.as_db_error().is_some() && committed.is_ok() {
                self.state = Transaction::None;
            }
            return Ok(Err(error));
        }
        committed?;
        self.state = Transaction::None;
        self.advance(cursor);
        Ok(Ok(()))
    }

    /// Waits until the connection has ended; see [`RunSession::closed`].
    pub(crate) async fn closed(&mut self) {
        self.session.closed().await;
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Stop> {
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let rows = self.query(statements::PING, &[&job, &version, &run]).await?;
        match rows.first().and_then(|row| row.get::<_, Option<String>>(0)) {
            None => Ok(()),
            Some(reason) => Err(Stop::Fenced(StopReason::parse(&reason))),
        }
    }

    pub(crate) async fn note_progress(&mut self, progress: &Value) -> Result<(), Stop> {
        let run = self.claim.run_id;
        self.query(statements::NOTE_PROGRESS, &[&run, progress]).await.map(drop)
    }

    /// For `protocol::watch`: cancels what the session executes.
    pub(super) fn canceler(&self) -> Canceler {
        self.session.canceler().clone()
    }

    /// Access for `protocol::resource`, which takes locks on this session.
    pub(super) async fn session(&mut self) -> Result<(&Claim, &mut RunSession), Stop> {
        self.settle_abandoned().await?;
        Ok((&self.claim, &mut self.session))
    }

    fn advance(&mut self, cursor: Value) {
        self.seq += 1;
        self.cursor = Some(cursor);
    }

    /// Tells contention, after which the server has rolled back, from the end of the run.
    fn undone(&mut self, error: tokio_postgres::Error) -> Result<Undone, Stop> {
        if error.as_db_error().is_some() {
            self.state = Transaction::None;
        }
        match contention(&error) {
            Some(undone) => Ok(undone),
            None => Err(error.into()),
        }
    }

    pub(super) async fn settle_abandoned(&mut self) -> Result<(), Stop> {
        match self.state {
            Transaction::None => Ok(()),
            Transaction::Abandoned => {
                self.session.client().batch_execute("ROLLBACK").await?;
                self.state = Transaction::None;
                Ok(())
            }
            Transaction::InDoubt => Err(Stop::Lost(Error::new(
                ErrorKind::Unreachable,
                "a statement was abandoned half way, and what became of it is not known",
            ))),
        }
    }
}

/// Whether a run session may be used once more, to finish the run.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// It may.
    Fit,
    /// It must be closed: a transaction on it may still be open.
    InDoubt,
}

/// Begins a batch of two flights. A client that freezes between them keeps the locks of its rows for less than a lease.
fn begin_batch(half_done: Duration, commits: Commits) -> String {
    let relaxed = match commits {
        Commits::Durable => "",
        Commits::Relaxed => "; SET LOCAL synchronous_commit TO off",
    };
    let idle = half_done.as_millis();
    format!("BEGIN; SET LOCAL idle_in_transaction_session_timeout TO {idle}{relaxed}")
}

/// The effect and its fence as one statement. The count is an argument of the fence, so the fence comes last.
fn with_fence(effect: &str, params: usize, commits: Commits) -> String {
    let p = |n: usize| params + n;
    let relaxed = match commits {
        Commits::Durable => "",
        // Until the end of this statement's own transaction, whose commit reads it.
        Commits::Relaxed => ", pg_catalog.set_config('synchronous_commit', 'off', true)",
    };
    format!(
        "WITH effect AS ({effect}) SELECT done.rows, sexton.fence(${}, ${}, ${}, ${}, ${}, done.rows, ${}){relaxed} \
         FROM (SELECT pg_catalog.count(*) AS rows FROM effect) AS done",
        p(1),
        p(2),
        p(3),
        p(4),
        p(5),
        p(6)
    )
}

/// What may be tried again as it is.
pub(super) fn contention(error: &tokio_postgres::Error) -> Option<Undone> {
    match error.code()?.code() {
        "55P03" => Some(Undone::LockTimeout),
        "57014" => Some(Undone::StatementTimeout),
        "40001" | "40P01" => Some(Undone::Conflict),
        _ => None,
    }
}
