//! A long statement, and an eye on whether the run may still go on.
//!
//! Needed where a statement may take minutes, since the run's session can ask nothing meanwhile. What is easy to get
//! wrong: a cancelled statement is not over until the server says so, and only then the session may be used again.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::protocol::{
    run::{Stop, StopReason},
    watch::Watcher,
};

/// How often the database is asked. Statements that are over sooner cost no session.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most that one look may take; then the next one begins.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Watches one run; from [`RunContext::watch`](super::RunContext::watch).
pub struct Watch {
    watcher: Watcher,
    /// A shutdown that ends the statement too.
    drain: Option<CancellationToken>,
}

impl Watch {
    pub(super) fn new(watcher: Watcher) -> Self {
        Watch { watcher, drain: None }
    }

    /// The same, for a statement that may be broken off at any time: a shutdown cancels it too.
    #[must_use]
    pub(super) fn or_drained(mut self, drain: CancellationToken) -> Self {
        self.drain = Some(drain);
        self
    }

    /// Waits for `work`, which is waiting for the run's session. When the run must stop (cancelled, paused, edited,
    /// taken over), the statement is cancelled, and `work` ends with what the server then says.
    ///
    /// A shutdown is no reason, unless asked for: the replica waits for a batch border for its `drain_timeout`, and then drops the run.
    ///
    /// # Errors
    /// [`Stop::Fenced`] once the run had to stop.
    ///
    /// # Cancel safety
    /// That of `work`.
    pub async fn over<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stop> {
        let mut work = std::pin::pin!(work);
        let drain = self.drain.clone();
        let drained = async {
            match drain {
                Some(drain) => drain.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let mut drained = std::pin::pin!(drained);
        let stop = loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = &mut drained => break Stop::Drained,
                reason = self.look() => if let Some(reason) = reason { break Stop::Fenced(reason) },
            }
        };
        loop {
            tokio::select! {
                biased;
                _ = &mut work => return Err(stop),
                () = self.cancel() => {}
            }
        }
    }

    async fn look(&mut self) -> Option<StopReason> {
        tokio::time::sleep(LOOK_EVERY).await;
        match tokio::time::timeout(LOOK_TIMEOUT, self.watcher.stop_reason()).await {
            Ok(Ok(reason)) => reason,
            Ok(Err(error)) => {
                tracing::debug!(%error, "session.watch_failed");
                None
            }
            Err(_) => None,
        }
    }

    /// Asks once; the wait after it is for the server, which may have got the request before the statement.
    async fn cancel(&self) {
        if let Err(error) = self.watcher.cancel().await {
            tracing::debug!(%error, "session.cancel_failed");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
