//! The fenced transaction: the one way in which a run's work is committed.
//!
//! Each batch ends with `sexton.fence(…)`, which
//! commits the batch's progress with its effect or takes the effect back. The fence comes last, not first: the job's
//! row is share-locked only from the fence to the commit, so an operator never waits for a batch (measured on the
//! prototype: `kill()` returned in 2 ms during a batch of 1 s).
//!
//! What is easy to get wrong: tokio-postgres' `commit()` says `Ok` when the server answered ROLLBACK, so a fence that
//! failed before it would pass unnoticed (rust-postgres#1334). Here fence and COMMIT leave in one flight, the fence's
//! own answer decides, and no client stands between the two.
//!
//! Work in another database ends in both: see `elsewhere`.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::types::ToSql;

use super::{
    ahead::Begun,
    held::Held,
    run::Stop,
    session::Transaction,
    slices::{Affected, Counted, IN_BATCH, Prepared, Slices},
    transaction::FencedTransaction,
};
use crate::{
    error::{Error, ErrorKind},
    failpoint::failpoint,
    statements,
};

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
        /// Of that, the rests between its slices.
        rested: Duration,
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

impl Held {
    /// One autocommit statement: the effect as a CTE, the fence over its count. Elsewhere the fence is in two databases,
    /// so that it is a transaction all the same.
    pub(crate) async fn batch(
        &mut self,
        effect: &str,
        params: &[&(dyn ToSql + Sync)],
        cursor: Value,
    ) -> Result<Batch, Stop> {
        if self.elsewhere.is_some() {
            let counted =
                format!("WITH effect AS ({effect}) SELECT pg_catalog.count(*) FROM effect WHERE {IN_BATCH}");
            let slices = Slices { effect: &counted, params: &[params], rest: Duration::ZERO, next: None };
            let answer = self.in_transaction(&slices, Counted::AsRow, cursor).await;
            return self.told(answer);
        }
        self.session.settle_abandoned().await?;
        let sql = with_fence(effect, params.len(), self.commits);
        let fence = (self.claim.job_id, self.claim.version, self.claim.run_id, self.part, self.seq);
        let mut all: Vec<&(dyn ToSql + Sync)> = params.to_vec();
        all.extend([&fence.0 as &(dyn ToSql + Sync), &fence.1, &fence.2, &fence.3, &fence.4, &cursor]);
        failpoint!("batch.before");
        self.session.state = Transaction::InDoubt;
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
                self.session.state = Transaction::None;
                self.advance(cursor);
                let rows = row.get::<_, i64>(0).unsigned_abs();
                Ok(Batch::Committed { rows, took, commit: Duration::ZERO, rested: Duration::ZERO })
            }
            Err(error) => self.undone(error).map(Batch::Undone),
        }
    }

    /// A statement that cannot run in a transaction; why it was undone, if it was.
    pub(crate) async fn unfenced(&mut self, sql: &str) -> Result<Option<Undone>, Stop> {
        let session = self.at_work();
        session.settle_abandoned().await?;
        session.state = Transaction::InDoubt;
        if let Err(error) = session.client().query_typed(sql, &[]).await {
            let answer = self.undone(error).map(Some);
            return self.told(answer);
        }
        self.at_work().state = Transaction::None;
        Ok(None)
    }

    /// The slices, then the fence with the number of rows that the server counted: a transaction in two flights.
    pub(crate) async fn batch_in_slices(
        &mut self,
        slices: &Slices<'_>,
        cursor: Value,
    ) -> Result<Batch, Stop> {
        let answer = self.in_transaction(slices, Counted::ByServer, cursor).await;
        self.told(answer)
    }

    async fn in_transaction(
        &mut self,
        slices: &Slices<'_>,
        counted: Counted,
        cursor: Value,
    ) -> Result<Batch, Stop> {
        if !slices.effect.contains(IN_BATCH) {
            let message = "the effect of a batch in slices could commit without its fence";
            return Err(Stop::Failed(Error::new(ErrorKind::Invalid, message)));
        }
        // What is recorded here must not be lost there.
        let commits = if self.elsewhere.is_some() { Commits::Durable } else { self.commits };
        let session = self.at_work();
        let ahead = session.begun.take_if(|begun| begun.is(slices.effect, slices.params));
        if ahead.is_none() {
            session.settle_abandoned().await?;
        }
        failpoint!("batch.before");
        session.state = Transaction::InDoubt;
        let prepared = match Prepared::on(session, slices).await {
            Ok(prepared) => prepared,
            Err(error) => return self.undone(error).map(Batch::Undone),
        };
        let begin = begin_batch(session.half_done(), commits);
        let (started, affected) = match ahead {
            Some(ahead) => (ahead.since, ahead.answer().await),
            None => {
                let (started, client) = (Instant::now(), session.client());
                let affected = prepared.in_one_flight(client, slices, counted);
                let (begun, affected) = futures_util::join!(client.batch_execute(&begin), affected);
                (started, begun.and(affected))
            }
        };
        let Affected { rows, rested, done } = match affected {
            Ok(affected) => affected,
            Err(error) => {
                session.client().batch_execute("ROLLBACK").await?;
                return self.undone(error).map(Batch::Undone);
            }
        };
        let next = slices.next.filter(|_| self.elsewhere.is_none()).and_then(|values| {
            let client = self.session.shared_client();
            Begun::new(client, begin, slices.effect, prepared.effect, values)
        });
        match self.fence_and_commit(rows, cursor, next).await? {
            Ok(()) => {
                let (took, done) = (started.elapsed(), done.saturating_duration_since(started));
                Ok(Batch::Committed { rows, took, commit: took.saturating_sub(done), rested })
            }
            Err(error) => self.undone(error).map(Batch::Undone),
        }
    }

    pub(crate) fn is_begun(&self, slices: &Slices<'_>) -> bool {
        self.session.begun.as_ref().is_some_and(|begun| begun.is(slices.effect, slices.params))
    }

    pub(crate) async fn begin(&mut self) -> Result<FencedTransaction<'_>, Stop> {
        let begun = async {
            let session = self.at_work();
            session.settle_abandoned().await?;
            failpoint!("batch.before");
            session.state = Transaction::Abandoned;
            Ok(session.client().batch_execute(BEGIN).await?)
        };
        let begun = begun.await;
        self.told(begun)?;
        Ok(FencedTransaction { held: self })
    }

    /// Sends the fence and the COMMIT in one flight, with no client between the two, and behind them the next batch, if
    /// one is given. The inner error is the fence's: the transaction is then rolled back.
    pub(super) async fn fence_and_commit(
        &mut self,
        rows: u64,
        cursor: Value,
        next: Option<Begun>,
    ) -> Result<Result<(), tokio_postgres::Error>, Stop> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let ended = match &mut self.elsewhere {
            Some(elsewhere) => {
                let batch = (self.seq, rows, &cursor);
                elsewhere.commit_in_both(&mut self.session, &self.claim, batch).await?
            }
            None => self.commit_here(rows, &cursor, next).await?,
        };
        if ended.is_ok() {
            self.advance(cursor);
        }
        Ok(ended)
    }

    async fn commit_here(
        &mut self,
        rows: i64,
        cursor: &Value,
        mut next: Option<Begun>,
    ) -> Result<Result<(), tokio_postgres::Error>, Stop> {
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let (part, seq) = (self.part, self.seq);
        let statement = self.session.prepare(statements::FENCE, &[]).await?;
        failpoint!("batch.fence");
        self.session.state = Transaction::InDoubt;
        let client = self.session.client();
        let params: [&(dyn ToSql + Sync); 7] = [&job, &version, &run, &part, &seq, &rows, cursor];
        let ahead = async {
            if let Some(next) = &mut next {
                next.send().await;
            }
        };
        // All leave before any is answered. If the fence raises, the COMMIT behind it is a ROLLBACK.
        let (fenced, committed, ()) =
            futures_util::join!(client.query_one(&statement, &params), client.batch_execute("COMMIT"), ahead);
        failpoint!("batch.committed");
        // What was begun is open; it is asked for next, or taken back.
        let over = if next.is_some() { Transaction::Abandoned } else { Transaction::None };
        if let Err(error) = fenced {
            if error.as_db_error().is_some() && committed.is_ok() {
                self.session.state = over;
            }
            return Ok(Err(error));
        }
        committed?;
        self.session.state = over;
        self.session.begun = next.map(Begun::beginning_now);
        Ok(Ok(()))
    }

    fn advance(&mut self, cursor: Value) {
        self.seq += 1;
        self.cursor = Some(cursor);
    }

    /// Tells contention, after which the server has rolled back, from the end of the run.
    fn undone(&mut self, error: tokio_postgres::Error) -> Result<Undone, Stop> {
        let session = self.at_work();
        if error.as_db_error().is_some() && session.state != Transaction::Abandoned {
            session.state = Transaction::None;
        }
        match contention(&error) {
            Some(undone) => Ok(undone),
            None => Err(error.into()),
        }
    }
}

/// Begins a transaction in which the effect of a batch may stand (`slices::IN_BATCH`).
const BEGIN: &str = "BEGIN; SET LOCAL sexton.in_batch TO on";

/// Begins a batch of two flights. A client that freezes between them keeps the locks of its rows for less than a lease.
fn begin_batch(half_done: Duration, commits: Commits) -> String {
    let relaxed = match commits {
        Commits::Durable => "",
        Commits::Relaxed => "; SET LOCAL synchronous_commit TO off",
    };
    let idle = half_done.as_millis();
    format!("{BEGIN}; SET LOCAL idle_in_transaction_session_timeout TO {idle}{relaxed}")
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
