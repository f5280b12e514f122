//! Workers: further sessions that work on parts of a run, under its one claim.
//!
//! A run may be split into parts, each with a cursor and a seq of its own (`sexton.run_part`), and each part is worked
//! on by one session at a time. The token is the run's, so the fence that stops the run stops every worker. What is easy
//! to get wrong: when the run's own session is gone, its workers may live on for a while, and the job's lock says
//! nothing of them. So each holds the job's worker key shared, which a claim takes exclusively: no holder begins while a
//! session of the last one may still execute anything.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    claim::Claim,
    connect::{Canceler, Connector},
    fence::Commits,
    held::Held,
    run::{Stop, StopReason},
    session::{RunSession, Settings, Transaction},
};
use crate::{
    error::{Error, ErrorKind},
    statements,
};

/// What worker sessions of a run are opened with.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// `application_name` of the run session.
    pub(super) name: String,
    /// Settings of the run session.
    pub(super) settings: Settings,
    /// The worker key.
    pub(super) lock_class: i32,
    pub(super) lock_id: i32,
}

/// A part of a run, as this replica knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Where its last committed batch left off, by whichever attempt.
    pub(crate) cursor: Option<Value>,
    /// Batches of this run that are known to be committed.
    pub(crate) seq: i64,
}

/// Opens worker sessions of one run.
pub(crate) struct Crew {
    connector: Connector,
    claim: Claim,
    commits: Commits,
}

/// Ends what the server does for a session that is dropped in the middle of it.
pub(super) struct CancelOnDrop(Option<Canceler>);

impl CancelOnDrop {
    pub(super) fn new(canceler: Canceler) -> Self {
        CancelOnDrop(Some(canceler))
    }

    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(canceler), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        // Without it, the statement goes on until the server notices that its client is gone (2 s), and the next claim
        // waits for it. What it did is not committed in any case, or it is: the next attempt reads which.
        runtime.spawn(async move {
            if let Err(error) = canceler.cancel().await {
                tracing::debug!(%error, "session.cancel_failed");
            }
        });
    }
}

impl Crew {
    /// Opens a worker's session, which has no part yet.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job; [`Stop::Unhealthy`] if no session is to be had.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(crate) async fn join(&self) -> Result<Held, Stop> {
        let Terms { name, settings, .. } = &self.claim.workers;
        let session = RunSession::open(&self.connector, &format!("{name}/worker"), settings).await;
        let mut session = session.map_err(Stop::Unhealthy)?;
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let row = session.one(statements::JOIN_RUN, &[&job, &version, &run]).await?;
        if let Some(reason) = row.get::<_, Option<String>>(0) {
            return Err(Stop::Fenced(StopReason::parse(&reason)));
        }
        let cancel = CancelOnDrop::new(session.canceler().clone());
        Ok(Held::of_worker(self.claim.for_worker(), session, self.commits, cancel))
    }
}

impl Held {
    /// The parts of the run, by their numbers; none if it is not split.
    pub(crate) fn parts(&self) -> &BTreeMap<i32, Part> {
        &self.parts
    }

    /// Whether this is a worker's.
    pub(crate) fn is_worker(&self) -> bool {
        self.cancel.is_some()
    }

    /// Which part the next batches are of; 0 for the run's own.
    pub(crate) fn part(&self) -> i32 {
        self.part
    }

    /// Gives the run parts, numbered from 1.
    pub(crate) async fn split(&mut self, cursors: Vec<Value>) -> Result<(), Stop> {
        let (job, version, run) = (self.claim().job_id, self.claim().version, self.claim().run_id);
        let all = Value::Array(cursors.clone());
        self.query(statements::SPLIT, &[&job, &version, &run, &all]).await?;
        self.parts =
            (1..).zip(cursors.into_iter().map(|cursor| Part { cursor: Some(cursor), seq: 0 })).collect();
        Ok(())
    }

    /// What opens sessions for workers.
    pub(crate) fn crew(&self, connector: Connector) -> Crew {
        Crew { connector, claim: self.claim().for_worker(), commits: self.commits }
    }

    /// Lets a worker go on with this part.
    pub(crate) fn take_part(&mut self, number: i32, part: Part) {
        self.part = number;
        self.seq = part.seq;
        self.cursor = part.cursor;
    }

    /// How far a worker's part is.
    pub(crate) fn part_done(&self) -> Part {
        Part { cursor: self.cursor().cloned(), seq: self.seq }
    }

    /// Remembers how far a part is, in the run's own.
    pub(crate) fn note_part(&mut self, number: i32, part: Part) {
        self.parts.insert(number, part);
    }

    /// Closes a worker's session, if it can be done in good order: the next claim then need not wait for its end.
    ///
    /// # Errors
    /// If the session is lost or in doubt; it is closed all the same.
    pub(crate) async fn leave(mut self) -> Result<(), Stop> {
        if self.session.state != Transaction::None {
            let message = "the worker's session is in doubt";
            return Err(Stop::Lost(Error::new(ErrorKind::Unreachable, message)));
        }
        let (class, id) = (self.claim().workers.lock_class, self.claim().workers.lock_id);
        self.query(statements::LEAVE_RUN, &[&class, &id]).await?;
        if let Some(cancel) = &mut self.cancel {
            cancel.disarm();
        }
        Ok(())
    }
}
