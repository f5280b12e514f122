//! Keeping a run's session alive while the work is elsewhere: a rest, a call, a command.
//!
//! The server ends a session that says nothing for 15 s, and with it the run. What is easy to get wrong: the work must
//! stop before another replica can have the job, so what counts is when the last question that was answered well was
//! asked, not when its answer came; and the work goes on while a question is open. A session that the server ends, or a
//! reset, frees the lock at once, so that is not left to the next question.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RunContext;
use crate::{
    error::{Error, ErrorKind},
    protocol::run::Stop,
};

/// How often a run that is busy elsewhere shows the server that it lives. The server ends a session that is idle
/// for 15 s (protocol.md, "Sessions").
const PING_EVERY: Duration = Duration::from_secs(5);
/// A run whose last good ping started longer ago than this no longer trusts its session.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(10);

impl RunContext {
    /// Waits between batches, keeping the session alive; ends early with an error when the run must stop.
    ///
    /// # Errors
    /// As [`RunContext::batch`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn rest(&mut self, time: Duration) -> Result<(), Stop> {
        let drain = self.drain.clone();
        self.keep(Instant::now(), drain, tokio::time::sleep(time)).await
    }

    /// Does something outside the database, keeping the session alive meanwhile. No transaction is open then. It asks
    /// first whether the run still holds its job, and then every 5 s; the work goes on while it asks.
    ///
    /// # Errors
    /// [`Stop::Fenced`], [`Stop::Drained`] or [`Stop::Lost`] as soon as the run must stop: the work is dropped. It is
    /// lost when the last question that was answered well was asked more than 10 s ago: another replica may have the
    /// job 5 s later.
    ///
    /// # Cancel safety
    /// That of `work`, and as [`RunContext::query`].
    pub async fn keep_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        self.stop_if_draining()?;
        let asked = Instant::now();
        self.ping().await?;
        let drain = self.drain.clone();
        self.keep(asked, drain, work).await
    }

    /// As [`RunContext::keep_while`], but a replica that shuts down waits for it, until its patience ends: for work
    /// that is better brought to its end than begun again elsewhere.
    ///
    /// # Errors
    /// As [`RunContext::keep_while`]; [`Stop::Drained`] only before it begins.
    ///
    /// # Cancel safety
    /// As [`RunContext::keep_while`].
    pub async fn see_through<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        self.stop_if_draining()?;
        let asked = Instant::now();
        self.ping().await?;
        self.keep(asked, CancellationToken::new(), work).await
    }

    /// As [`RunContext::keep_while`], where the session was known to be good at `good`, until
    /// `drain` is cancelled.
    async fn keep<T>(
        &mut self,
        mut good: Instant,
        drain: CancellationToken,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = drain.cancelled() => return Err(Stop::Drained),
                done = &mut work => return Ok(done),
                // With the session goes the lock: another replica may have the job at once.
                () = self.held.closed() => return Err(Stop::Lost(ended())),
                () = tokio::time::sleep_until(good + PING_EVERY) => {}
            }
            let (asked, trusted_until) = (Instant::now(), good + PING_TIMEOUT);
            let mut done = None;
            let mut ping = std::pin::pin!(self.held.ping());
            loop {
                tokio::select! {
                    biased;
                    answer = &mut ping => {
                        answer?;
                        break;
                    }
                    () = tokio::time::sleep_until(trusted_until) => return Err(Stop::Lost(silent())),
                    // An answer under way is waited for: a session in the middle of one is good for nothing.
                    finished = &mut work, if done.is_none() => done = Some(finished),
                }
            }
            if let Some(done) = done {
                return Ok(done);
            }
            good = asked;
        }
    }

    /// Asks whether the run still holds its job.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if it does not, [`Stop::Lost`] if there is no answer within 10 s.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn ping(&mut self) -> Result<(), Stop> {
        match tokio::time::timeout(PING_TIMEOUT, self.held.ping()).await {
            Ok(answer) => answer,
            Err(_) => Err(Stop::Lost(silent())),
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unreachable, "the run session has ended")
}

fn silent() -> Error {
    Error::new(ErrorKind::Unreachable, "the run session does not answer")
}
