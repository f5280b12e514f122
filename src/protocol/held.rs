//! A claim together with the session that holds its lock: what a run is, as long as it is this replica's.
//!
//! What is easy to get wrong: where its work is in another database, two sessions belong to it. What Sexton records is
//! asked and said on the one that holds the job (`query_home`), the work is done on the other.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio_postgres::{
    Row, Statement,
    types::{ToSql, Type},
};

use super::{
    claim::Claim,
    connect::Canceler,
    elsewhere::Elsewhere,
    fence::Commits,
    resource::Wanted,
    run::{Stop, StopReason},
    session::{RunSession, STATEMENT_TIMEOUT, Transaction},
    worker::{CancelOnDrop, Part},
};
use crate::statements;

/// The part of a run that its own session works on; see `worker` for the others.
pub(super) const OWN_PART: i32 = 0;

/// A claim, the session that holds its lock, and, where its work is in another database, the session that does it.
pub(crate) struct Held {
    pub(super) claim: Claim,
    pub(super) session: RunSession,
    pub(super) elsewhere: Option<Elsewhere>,
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
    /// Whether its batches wait for the disk.
    pub(crate) commits: Commits,
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
            elsewhere: None,
            part: OWN_PART,
            cursor,
            seq,
            parts,
            cancel: None,
            resources,
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

    /// How many batches of its part it committed.
    pub(crate) fn seq(&self) -> i64 {
        self.seq
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// How long the server lets its sessions be silent.
    pub(crate) fn lease(&self) -> Duration {
        self.claim.workers.settings.lease.idle
    }

    pub(crate) fn cursor(&self) -> Option<&Value> {
        self.cursor.as_ref()
    }

    /// The session, if it is fit for one more transaction, and the claim: to finish the run.
    pub(crate) fn into_parts(mut self) -> (Claim, RunSession, SessionState) {
        self.claim.batches = self.seq + self.parts.values().map(|part| part.seq).sum::<i64>();
        let state = match self.session.state {
            Transaction::None if !self.session.is_closed() => SessionState::Fit,
            _ => SessionState::InDoubt,
        };
        (self.claim, self.session, state)
    }

    /// The session that the work is done on: the one that holds the job, unless the work is elsewhere.
    pub(super) fn at_work(&mut self) -> &mut RunSession {
        match &mut self.elsewhere {
            Some(elsewhere) => &mut elsewhere.session,
            None => &mut self.session,
        }
    }

    pub(crate) async fn query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Stop> {
        let answer = self.at_work().query(sql, params).await;
        self.told(answer)
    }

    /// The same on the session that holds the job, wherever the work is done.
    pub(crate) async fn query_home(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Stop> {
        self.session.query(sql, params).await
    }

    pub(crate) async fn query_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Stop> {
        let answer = self.at_work().query_typed(sql, params).await;
        self.told(answer)
    }

    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Statement, Stop> {
        let answer = self.at_work().describe(sql).await;
        self.told(answer)
    }

    pub(crate) async fn limit_statements(&mut self, limit: Option<Duration>) -> Result<(), Stop> {
        let limit = limit.unwrap_or(STATEMENT_TIMEOUT).as_millis().max(1).to_string();
        self.query(statements::LIMIT_STATEMENTS, &[&limit]).await.map(drop)
    }

    /// Waits until the connection has ended; see [`RunSession::closed`].
    pub(crate) async fn closed(&mut self) {
        self.session.closed().await;
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Stop> {
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let rows = self.query_home(statements::PING, &[&job, &version, &run]).await?;
        if let Some(elsewhere) = &mut self.elsewhere {
            let alive = elsewhere.ping().await;
            self.told(alive)?;
        }
        match rows.first().and_then(|row| row.get::<_, Option<String>>(0)) {
            None => Ok(()),
            Some(reason) => Err(Stop::Fenced(StopReason::parse(&reason))),
        }
    }

    pub(crate) async fn note_progress(&mut self, progress: &Value) -> Result<(), Stop> {
        let run = self.claim.run_id;
        self.query_home(statements::NOTE_PROGRESS, &[&run, progress]).await.map(drop)
    }

    /// For `protocol::watch`: cancels what the session executes.
    pub(super) fn canceler(&self) -> Canceler {
        let session = self.elsewhere.as_ref().map_or(&self.session, |elsewhere| &elsewhere.session);
        session.canceler().clone()
    }

    /// Access for `protocol::resource`, which takes locks on this session.
    pub(super) async fn session(&mut self) -> Result<(&Claim, &mut RunSession), Stop> {
        self.session.settle_abandoned().await?;
        Ok((&self.claim, &mut self.session))
    }
}
