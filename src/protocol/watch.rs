//! Watching a run from a session of its own, while the run's session is busy with a long statement.
//!
//! A session that executes a statement can ask nothing, so a cancel, a pause or a kill would go unnoticed until the
//! statement ends. What is easy to get wrong: a watcher that cannot connect says nothing about the run. The run's own
//! session is what counts, and the server ends that when its client is gone.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    connect::{Canceler, Connector, Opened},
    held::Held,
    run::StopReason,
};
use crate::{error::Result, statements};

/// Asks whether a run must stop, and cancels its statement.
pub(crate) struct Watcher {
    connector: Connector,
    canceler: Canceler,
    name: String,
    token: (i64, i64, Uuid),
    session: Option<Opened>,
}

impl Watcher {
    /// A watcher of this run; it opens its session when it is first asked.
    pub(crate) fn of(held: &Held, connector: Connector) -> Self {
        let claim = held.claim();
        Watcher {
            connector,
            canceler: held.canceler(),
            name: format!("sexton/watch/{}", claim.job_name),
            token: (claim.job_id, claim.version, claim.run_id),
            session: None,
        }
    }

    /// Why the run must stop, if it must.
    ///
    /// # Errors
    /// If the database cannot be reached; the next call tries anew.
    pub(crate) async fn stop_reason(&mut self) -> Result<Option<StopReason>> {
        let session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => self.connector.open(&self.name, &[]).await?,
        };
        let (job, version, run) = &self.token;
        let token: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(job, Type::INT8), (version, Type::INT8), (run, Type::UUID)];
        let rows = session.client.query_typed(statements::PING, &token).await?;
        self.session = Some(session);
        let reason = rows.first().and_then(|row| row.get::<_, Option<String>>(0));
        Ok(reason.map(|reason| StopReason::parse(&reason)))
    }

    /// Asks the server to cancel what the run's session executes; no effect if that is nothing.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub(crate) async fn cancel(&self) -> Result<()> {
        self.canceler.cancel().await
    }
}
