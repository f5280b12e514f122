//! Statements that cannot run in a transaction: VACUUM, and whatever is CONCURRENTLY.
//!
//! No fence is possible for them. They are harmless twice, and they run only while the job's lock is held and after a ping
//! that found the run in order; when it must stop, another session cancels them. What is easy to get wrong: a lock timeout
//! during CREATE INDEX or REINDEX CONCURRENTLY leaves an invalid index behind (measured on the prototype), so these wait
//! for as long as it takes, and a cancel leaves one too, which a later run must find.

use std::time::Duration;

use super::{RunContext, Stop, Undone, Watch};
use crate::statements;

/// How long a statement outside a transaction waits for locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// 200 ms, below `deadlock_timeout`, so that neither the application nor an autovacuum is pushed aside.
    Brief,
    /// As long as it takes: for CONCURRENTLY.
    Patient,
}

/// What became of a statement outside a transaction.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfenced {
    /// It is done.
    Done,
    /// It was taken back, as far as such statements are; the same one may be tried again.
    Undone(Undone),
}

/// The lock timeout of [`LockWait::Brief`], in milliseconds.
const BRIEF: &str = "200";
/// How long before the job's `timeout` an interruptible statement is over, so that the run's end can be written.
const BEFORE_THE_END: Duration = Duration::from_secs(10);
/// The least that a statement gets, since to the server 0 means for ever.
const LEAST: Duration = Duration::from_millis(1);

impl RunContext {
    /// Executes a statement that cannot run in a transaction, and that does no harm if it runs twice. It may take as long
    /// as the job's `timeout` allows.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job, before or while the statement runs; it is cancelled then.
    /// [`Stop::Drained`] when this replica shuts down. Whatever else the database reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session in doubt: the run is over, and the statement is cancelled.
    pub async fn execute_unfenced(&mut self, sql: &str, locks: LockWait) -> Result<Unfenced, Stop> {
        let watch = self.watch();
        self.watched(sql, locks, watch, Duration::ZERO).await
    }

    /// The same for a statement that leaves nothing behind when it is broken off, such as VACUUM after the work is done:
    /// a shutdown of this replica cancels it, and it is over some seconds before the job's `timeout` is.
    ///
    /// # Errors
    /// As [`RunContext::execute_unfenced`]. After [`Stop::Drained`] the session is in order, and the run may end as it
    /// likes.
    ///
    /// # Cancel safety
    /// As [`RunContext::execute_unfenced`].
    pub async fn execute_interruptible(&mut self, sql: &str, locks: LockWait) -> Result<Unfenced, Stop> {
        let watch = self.watch().or_drained(self.drain.clone());
        match self.watched(sql, locks, watch, BEFORE_THE_END).await {
            Err(Stop::Drained) => {
                self.held.query(statements::RESET_SESSION, &[]).await?;
                Err(Stop::Drained)
            }
            done => done,
        }
    }

    async fn watched(
        &mut self,
        sql: &str,
        locks: LockWait,
        mut watch: Watch,
        margin: Duration,
    ) -> Result<Unfenced, Stop> {
        self.stop_if_draining()?;
        self.ping().await?;
        let left = self.ends.map(|ends| ends.saturating_duration_since(tokio::time::Instant::now()));
        let left = left.map(|left| left.saturating_sub(margin).max(LEAST));
        let statement = left.unwrap_or(Duration::ZERO).as_millis().to_string();
        let lock = if locks == LockWait::Brief { BRIEF } else { "0" };
        self.held.query(statements::LIMIT_SESSION, &[&statement, &lock]).await?;
        let answer = watch.over(self.held.unfenced(sql)).await?;
        self.held.query(statements::RESET_SESSION, &[]).await?;
        Ok(answer?.map_or(Unfenced::Done, Unfenced::Undone))
    }
}
