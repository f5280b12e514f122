//! Work in another database, which is not the one of the schema `sexton`: the token goes with it.
//!
//! No transaction spans two databases. So the other one has a fence row of its own for each job (schema `sexton_fence`),
//! which takes tokens in their order: once a newer one is installed, no batch of an older one commits there. The last
//! batch's cursor stands in that row, committed with its effect, and is the truth; what the home database records is
//! brought up to it when the next run of the job enters.
//!
//! A batch ends in both. Here the job's row is share-locked by the fence, in a transaction that stays open; there the
//! batch is checked and commits; then the transaction here does. So a person's verb is a barrier there too: when it
//! returns, the batch has committed, or never will. What is easy to get wrong: if this session is lost in between, the
//! row is unlocked though the batch there may still be on its way. It then commits behind a barrier, once; it still
//! commits before whatever a newer holder does, since that one installs its token first.

use std::sync::Weak;

use serde_json::Value;
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    claim::Claim,
    connect::Connector,
    held::{Held, OWN_PART},
    run::Stop,
    session::{RunSession, Transaction},
    worker::CancelOnDrop,
};
use crate::{
    error::{Error, ErrorKind, Result},
    failpoint::failpoint,
    statements,
};

/// A session in another database that works for a run.
pub(crate) struct Elsewhere {
    /// The name that jobs give that database.
    database: String,
    job: String,
    pub(super) session: RunSession,
    cancel: CancelOnDrop,
}

/// How much of a job is done in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it: where its work stands is what that database says.
    Whole,
    /// Some of it: that database knows of its own batches alone.
    Part,
}

/// Shows the server that the run lives while its work is elsewhere.
pub(crate) struct Pulse {
    client: Weak<Client>,
    token: (i64, i64, Uuid),
}

/// The last batch that committed in a database.
struct Last {
    run: Uuid,
    seq: i64,
    rows: i64,
    cursor: Value,
}

impl Elsewhere {
    /// Opens a session there, with the settings of the run's own.
    ///
    /// # Errors
    /// [`Stop::Failed`] if there is none to be had.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub(crate) async fn open(held: &Held, database: &str, connector: &Connector) -> Result<Self, Stop> {
        let claim = held.claim();
        let name = claim.workers.name.replacen("sexton/", "sexton/elsewhere/", 1);
        let session = RunSession::open(connector, &name, &claim.workers.settings).await;
        let session = session.map_err(|error| Stop::Failed(about(error, &claim.job_name, database)))?;
        Ok(Elsewhere {
            database: database.to_owned(),
            job: claim.job_name.clone(),
            cancel: CancelOnDrop::new(session.canceler().clone()),
            session,
        })
    }

    /// The name that jobs give that database.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Tries to take the job's lock there too, so that two holders' statements do not overlap; never waits.
    ///
    /// # Errors
    /// [`Stop::Failed`] if the session is lost.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether it was taken: the session is good for nothing more.
    pub(crate) async fn try_lock(&mut self, held: &Held) -> Result<bool, Stop> {
        let (class, id) = held.claim.lock;
        self.session.try_lock(class, id).await.map_err(|error| self.failed(error))
    }

    /// Who holds the job's lock there, in words; `None` if nobody does any more.
    ///
    /// # Errors
    /// [`Stop::Failed`] if that is the very session that won the job: this is no other database.
    ///
    /// # Cancel safety
    /// As [`Elsewhere::try_lock`].
    pub(crate) async fn lock_holder(&mut self, held: &mut Held) -> Result<Option<String>, Stop> {
        let (class, id) = held.claim.lock;
        let there = self.session.one(statements::LOCK_HOLDER, &[&class, &id]).await;
        let there = there.map_err(|error| self.failed(error.into()))?.get::<_, Option<String>>(0);
        let here = held.session.one(statements::LOCK_HOLDER, &[&class, &id]).await?;
        if there == here.get::<_, Option<String>>(0) {
            let error = Error::new(ErrorKind::Invalid, "is the one of the schema sexton itself");
            return Err(self.failed(error.with_remedy("leave `database` out")));
        }
        Ok(there)
    }

    /// The run's failure, which says where it happened.
    fn failed(&self, error: Error) -> Stop {
        Stop::Failed(about(error, &self.job, &self.database))
    }

    pub(super) async fn ping(&mut self) -> Result<(), Stop> {
        self.session.settle_abandoned().await?;
        self.session.state = Transaction::InDoubt;
        self.session.client().batch_execute("").await?;
        self.session.state = Transaction::None;
        Ok(())
    }

    /// Puts the run's token in place of the last one's, and returns how far work has come there.
    async fn install(&mut self, claim: &Claim) -> Result<Option<Last>, tokio_postgres::Error> {
        let params: [&(dyn ToSql + Sync); 6] =
            [&claim.install_id, &claim.job_id, &claim.job_name, &claim.epoch, &claim.version, &claim.run_id];
        let row = self.session.one(statements::FENCE_INSTALL, &params).await?;
        failpoint!("elsewhere.installed");
        Ok(Last::read(&row))
    }

    /// Ends a batch whose effect stands in the open transaction there: both databases take it, or neither does. The
    /// inner error is that of either fence; the batch is then rolled back in both.
    pub(super) async fn commit_in_both(
        &mut self,
        home: &mut RunSession,
        claim: &Claim,
        (seq, rows, cursor): (i64, i64, &Value),
    ) -> Result<Result<(), tokio_postgres::Error>, Stop> {
        let (job, version, run) = (&claim.job_id, &claim.version, &claim.run_id);
        let fence: [&(dyn ToSql + Sync); 7] = [job, version, run, &OWN_PART, &seq, &rows, cursor];
        let check: [&(dyn ToSql + Sync); 8] =
            [&claim.install_id, job, &claim.epoch, version, run, &seq, &rows, cursor];
        let fence_here = home.prepare(statements::FENCE, &[]).await?;
        let check_there = self.session.prepare(statements::FENCE_CHECK, &[]).await?;
        failpoint!("batch.fence");
        home.state = Transaction::InDoubt;
        self.session.state = Transaction::InDoubt;
        // Not in one flight: if just the BEGIN were cancelled, the fence would record a batch that there is none of.
        home.client().batch_execute("BEGIN").await?;
        if let Err(error) = home.client().query_one(&fence_here, &fence).await {
            home.roll_back().await?;
            self.session.roll_back().await?;
            return Ok(Err(error));
        }
        failpoint!("elsewhere.fenced");
        let there = self.session.client();
        let (checked, committed) =
            futures_util::join!(there.query_one(&check_there, &check), there.batch_execute("COMMIT"));
        failpoint!("elsewhere.committed");
        if let Err(error) = checked {
            // Whoever is not told that it was rolled back does not know: the next run reads from there which it was.
            if error.as_db_error().is_none() || committed.is_err() {
                return Err(error.into());
            }
            self.session.state = Transaction::None;
            home.roll_back().await?;
            return Ok(Err(error));
        }
        committed?;
        self.session.state = Transaction::None;
        home.client().batch_execute("COMMIT").await?;
        home.state = Transaction::None;
        failpoint!("batch.committed");
        Ok(Ok(()))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if self.session.state == Transaction::None {
            self.cancel.disarm();
        }
    }
}

impl Held {
    /// Which other database the work is done in, if it is.
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        self.elsewhere.as_ref().map(Elsewhere::database)
    }

    /// Does the work in another database from now on, whose session holds the job's lock there.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job; [`Stop::Failed`] if that database has no fence, or one that
    /// knows better.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the token is in its place there: the run is over on this replica.
    pub(crate) async fn enter(&mut self, mut elsewhere: Elsewhere, extent: Extent) -> Result<(), Stop> {
        let last = match elsewhere.install(&self.claim).await {
            Ok(last) => last,
            Err(error) => return Err(self.not_let_in(&elsewhere, error).await?),
        };
        self.catch_up(last, extent).await?;
        self.elsewhere = Some(elsewhere);
        Ok(())
    }

    /// Does the work in the home database from now on.
    pub(crate) fn come_home(&mut self) {
        self.elsewhere = None;
    }

    /// What keeps the run's session while the other one is at work.
    pub(crate) fn pulse(&self) -> Pulse {
        let claim = &self.claim;
        let token = (claim.job_id, claim.version, claim.run_id);
        Pulse { client: self.session.weak_client(), token }
    }

    /// A session elsewhere that is lost is the run's failure, as long as its own session is good for saying so.
    pub(super) fn told<T>(&self, answer: Result<T, Stop>) -> Result<T, Stop> {
        let own_is_good = self.session.state == Transaction::None && !self.session.is_closed();
        match (&self.elsewhere, answer) {
            (Some(elsewhere), Err(Stop::Lost(error))) if own_is_good => Err(elsewhere.failed(error)),
            (_, answer) => answer,
        }
    }

    /// Brings what is recorded here up to what is true there.
    async fn catch_up(&mut self, last: Option<Last>, extent: Extent) -> Result<(), Stop> {
        let Some(last) = last else {
            if extent == Extent::Whole {
                self.cursor = None;
            }
            return Ok(());
        };
        let (job, version, run) = (self.claim.job_id, self.claim.version, self.claim.run_id);
        let params: [&(dyn ToSql + Sync); 7] =
            [&job, &version, &run, &last.run, &last.seq, &last.rows, &last.cursor];
        let rows = self.query_home(statements::CATCH_UP, &params).await?;
        let (same, news) = rows.first().map_or((false, false), |row| (row.get(0), row.get(1)));
        match extent {
            Extent::Whole => self.cursor = same.then_some(last.cursor),
            Extent::Part if news => self.cursor = Some(last.cursor),
            Extent::Part => {}
        }
        Ok(())
    }

    /// Why the token was not taken there.
    async fn not_let_in(
        &mut self,
        elsewhere: &Elsewhere,
        error: tokio_postgres::Error,
    ) -> Result<Stop, Stop> {
        let Elsewhere { database, .. } = elsewhere;
        let error = match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("SX001") => {
                // Most likely another holds the job by now, and is there already.
                self.ping().await?;
                Error::from(error)
            }
            Some("3F000" | "42883") => {
                Error::new(ErrorKind::Schema, "has no schema sexton_fence that this program can work with")
                    .with_remedy(format!(
                        "run `sexton migrate --fence --database …` for {database}, as a role that may create schemas there"
                    ))
                    .caused_by(error)
            }
            Some("42501") => Error::from(error)
                .with_remedy(format!("GRANT sexton_runner TO the login of [databases.{database}], there")),
            _ => error.into(),
        };
        Ok(elsewhere.failed(error))
    }
}

impl Pulse {
    /// Shows that the run lives.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn beat(&self) -> Result<()> {
        let Some(client) = self.client.upgrade() else {
            return Err(Error::new(ErrorKind::Unreachable, "the run session is closed"));
        };
        let (job, version, run) = &self.token;
        let token: [(&(dyn ToSql + Sync), Type); 3] =
            [(job, Type::INT8), (version, Type::INT8), (run, Type::UUID)];
        match client.query_typed(statements::PING, &token).await {
            // Asked within a transaction that the fence has just ended, perhaps. Whether the run must stop, that says.
            Err(error) if error.as_db_error().is_none() || client.is_closed() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Last {
    /// As the fence gives it; `None` if nothing of the job has committed there.
    fn read(row: &Row) -> Option<Self> {
        Some(Last {
            run: row.get::<_, Option<Uuid>>(0)?,
            seq: row.get(1),
            rows: row.get(2),
            cursor: row.get(3),
        })
    }
}

/// Says of an error in which job's work and where it happened, before what it said itself.
pub(crate) fn about(error: Error, job: &str, database: &str) -> Error {
    let own = error.subject().map(|subject| format!(": {subject}")).unwrap_or_default();
    error.about(format!("job {job}: database \"{database}\"{own}"))
}
