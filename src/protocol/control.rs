//! The control session: one for each replica, by which it looks for work, hears hints and says that it lives.
//!
//! It holds the replica's own advisory lock, and nothing that a run depends on: when it breaks, runs go on by their own
//! sessions while it is opened again. What is easy to get wrong: a notification is a hint to look and nothing more.
//! Any role may send one, so its content is not read, and without any hint the scan in time finds the same.

use std::collections::HashSet;

use jiff::Timestamp;
use tokio_postgres::{AsyncMessage, types::ToSql};
use uuid::Uuid;

use super::{
    claim::Candidate,
    connect::{Connector, Opened},
    job::{Job, ScheduleColumns},
    pooler::refuse_transaction_pooler,
};
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// How many migrations this program knows. `tests/tidy.rs` holds it to the files of `migrations/`.
pub const SCHEMA_LEVEL: i32 = 7;

/// The oldest server that has all the session settings that a lease needs.
const SERVER_VERSION_MIN: i32 = 14;

/// What a replica says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) replica_id: Uuid,
    /// Host name and process id.
    pub(crate) name: String,
    /// Program and time zone data, with their versions.
    pub(crate) program: String,
    pub(crate) slots: u16,
    pub(crate) kinds: Vec<&'static str>,
    /// The names in its local file that jobs may need: `secret:NAME`.
    pub(crate) knows: Vec<String>,
    /// What "at deploy" compares: a program's version.
    pub(crate) deploy: Option<String>,
    /// What this database must be called, if that was said.
    pub(crate) database_identity: Option<String>,
}

/// What the schema's one row of `sexton.meta` says that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installation {
    pub(crate) install_id: Uuid,
    pub(crate) lock_class: i32,
}

/// What a change of the database's incarnation means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incarnation {
    /// It is the one that it was.
    Same,
    /// The server does not let this role look; the epoch stays.
    Unreadable,
    /// A failover or point-in-time recovery: the epoch was raised, and work goes on.
    NewTimeline,
    /// A restored dump, a clone or an upgraded cluster: destructive and outside kinds wait for `adopt()`.
    NewSystem,
}

/// What there is to do, and how long the replica may sleep otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) jobs: Vec<Job>,
    /// The database's clock.
    pub(crate) now: Timestamp,
    pub(crate) next_due_at: Option<Timestamp>,
    pub(crate) runs_elsewhere: bool,
    pub(crate) halted: bool,
    pub(crate) adopt_needed: bool,
}

/// An open control session.
pub(crate) struct Control {
    session: Opened,
    installation: Installation,
    incarnation: Incarnation,
}

impl Control {
    /// Opens the session and makes sure of what a replica stands on: the server's version, that it is no standby, that
    /// no transaction pooler stands in between, the level of the schema, the database's identity. Registers.
    ///
    /// # Errors
    /// [`ErrorKind::Unsuitable`], [`ErrorKind::Schema`] or [`ErrorKind::Denied`] where one of these is not so;
    /// [`ErrorKind::Unreachable`] where nothing can be said, and trying again makes sense.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session.
    pub(crate) async fn open(connector: &Connector, registration: &Registration) -> Result<Self> {
        let replica = registration.replica_id.simple().to_string();
        let name = format!("sexton/{}/control", &replica[replica.len() - 8..]);
        let session = connector.open(&name, &[]).await?;
        refuse_transaction_pooler(&session.client, connector).await?;
        check_server(&session).await?;
        let installation = check_installation(&session, registration).await?;
        let incarnation = observe(&session).await?;
        let slots = i32::from(registration.slots);
        let params: [&(dyn ToSql + Sync); 7] = [
            &registration.replica_id,
            &registration.name,
            &registration.program,
            &slots,
            &registration.kinds,
            &registration.deploy,
            &registration.knows,
        ];
        session.client.batch_execute(statements::LISTEN).await?;
        session.client.query_one(statements::REPLICA_START, &params).await.map_err(may_not)?;
        Ok(Control { session, installation, incarnation })
    }

    pub(crate) fn installation(&self) -> Installation {
        self.installation
    }

    pub(crate) fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        &self.session.client
    }

    /// Says that the replica's local file was read again and has these names now.
    pub(crate) async fn note_known(&self, registration: &Registration) -> Result<()> {
        let params: [&(dyn ToSql + Sync); 2] = [&registration.replica_id, &registration.knows];
        self.session.client.query_one(statements::REPLICA_KNOWS, &params).await?;
        Ok(())
    }

    /// Looks for work: at most `most` jobs for each need. `busy` are the jobs that this replica is at work on,
    /// `channels` those that it sends notices to.
    pub(crate) async fn scan(
        &self,
        registration: &Registration,
        busy: &[i64],
        channels: &[String],
        most: i64,
    ) -> Result<Snapshot> {
        let client = &self.session.client;
        let scan: [&(dyn ToSql + Sync); 3] = [&registration.kinds, &most, &registration.knows];
        let horizon: [&(dyn ToSql + Sync); 3] = [&registration.kinds, &busy, &channels];
        // The horizon first: what comes due between the two statements is then beyond the horizon and in the scan. The
        // other way round it would be in neither, and wait for the longest sleep.
        let horizon = client.query_one(statements::HORIZON, &horizon).await?;
        let jobs = client.query(statements::SCAN, &scan).await?;
        Ok(Snapshot {
            jobs: jobs.iter().map(Job::from_row).collect(),
            now: horizon.get(0),
            next_due_at: horizon.get(1),
            runs_elsewhere: horizon.get(2),
            halted: horizon.get(3),
            adopt_needed: horizon.get(4),
        })
    }

    /// The jobs that runs of this replica hold, as the database sees it: by sessions that are there.
    pub(crate) async fn held_jobs(&self, replica_id: Uuid) -> Result<HashSet<i64>> {
        let rows = self.session.client.query(statements::HELD_JOBS, &[&replica_id]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Waits for a hint; `Err` when the session has ended.
    ///
    /// # Cancel safety
    /// Safe: no hint is lost.
    pub(crate) async fn hint(&mut self) -> Result<()> {
        loop {
            match self.session.messages.recv().await {
                Some(AsyncMessage::Notification(_)) => return Ok(()),
                Some(_) => {}
                None => return Err(Error::new(ErrorKind::Unreachable, "the control session ended")),
            }
        }
    }

    /// Forgets hints that came meanwhile: the scan that follows sees what they were about.
    pub(crate) fn forget_hints(&mut self) {
        while self.session.messages.try_recv().is_ok() {}
    }

    /// Stores the next regular instant of a job, and that its revision is valid. `false` if the row changed meanwhile.
    pub(crate) async fn plan(&self, job: &Job, next: &PlannedNext) -> Result<bool> {
        let ScheduleColumns { text, time_zone, .. } = &job.schedule;
        let params: [&(dyn ToSql + Sync); 8] = [
            &job.candidate.job_id,
            &job.candidate.revision,
            text,
            time_zone,
            &next.scheduled_at,
            &next.due_at,
            &next.coalesced,
            &job.needs,
        ];
        Ok(self.session.client.query_one(statements::PLAN, &params).await?.get(0))
    }

    /// Passes over an occurrence that is too late. `false` if the row changed meanwhile.
    pub(crate) async fn skip(&self, job: &Job, next: &PlannedNext) -> Result<bool> {
        let Candidate { job_id, version, .. } = &job.candidate;
        let ScheduleColumns { text, time_zone, .. } = &job.schedule;
        let params: [&(dyn ToSql + Sync); 7] =
            [job_id, version, text, time_zone, &next.scheduled_at, &next.due_at, &next.coalesced];
        Ok(self.session.client.query_one(statements::SKIP, &params).await?.get(0))
    }

    /// Notes that a revision is valid.
    pub(crate) async fn accept(&self, job: &Job) -> Result<()> {
        let params: [&(dyn ToSql + Sync); 3] = [&job.candidate.job_id, &job.candidate.revision, &job.needs];
        self.session.client.query_one(statements::ACCEPT, &params).await?;
        Ok(())
    }

    /// Notes that a schedule or params are invalid.
    pub(crate) async fn reject(&self, job: &Job, reason: &str) -> Result<()> {
        let ScheduleColumns { text, time_zone, .. } = &job.schedule;
        let params: [&(dyn ToSql + Sync); 5] =
            [&job.candidate.job_id, &job.candidate.revision, text, time_zone, &reason];
        self.session.client.query_one(statements::REJECT, &params).await?;
        Ok(())
    }
}

/// The next regular instant of a job, as a replica planned it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlannedNext {
    pub(crate) scheduled_at: Option<Timestamp>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) coalesced: i64,
}

async fn check_server(session: &Opened) -> Result<()> {
    // Without a name, as in `pooler`: what this goes through is not known yet.
    let rows = session.client.query_typed(statements::SERVER, &[]).await?;
    let [row] = rows.as_slice() else {
        return Err(Error::new(ErrorKind::Unsuitable, "what answers is no PostgreSQL: a row is missing"));
    };
    let (version, standby, schema): (i32, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if version / 10_000 < SERVER_VERSION_MIN {
        let message = format!("the server is PostgreSQL {}, too old", version / 10_000);
        return Err(Error::new(ErrorKind::Unsuitable, message)
            .with_remedy(format!("Sexton needs PostgreSQL {SERVER_VERSION_MIN} or later")));
    }
    if standby {
        return Err(Error::new(
            ErrorKind::Unsuitable,
            "the server is a standby: nothing can be maintained there",
        )
        .with_remedy(
            "connect to the primary; with several hosts, target_session_attrs=read-write finds it",
        ));
    }
    if !schema {
        return Err(no_schema());
    }
    Ok(())
}

fn no_schema() -> Error {
    Error::new(ErrorKind::Schema, "the schema sexton is not in this database")
        .with_remedy("run `sexton migrate`")
}

/// A missing right, with what to grant.
fn may_not(error: tokio_postgres::Error) -> Error {
    let error = Error::from(error);
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    error.with_remedy("grant the role sexton_runner to this login, or run under the role that migrated")
}

async fn check_installation(session: &Opened, registration: &Registration) -> Result<Installation> {
    let row = session.client.query_one(statements::INSTALLATION, &[]).await.map_err(may_not)?;
    let identity: Option<String> = row.get(2);
    let (level_min, level): (i32, Option<i32>) = (row.get(3), row.get(4));
    let level = level.unwrap_or(0);
    if level < SCHEMA_LEVEL {
        let message = format!("the schema is at level {level}, and this program needs {SCHEMA_LEVEL}");
        return Err(Error::new(ErrorKind::Schema, message).with_remedy("run `sexton migrate`"));
    }
    if level_min > SCHEMA_LEVEL {
        let message =
            format!("the schema asks for a program of level {level_min}, and this one has {SCHEMA_LEVEL}");
        return Err(Error::new(ErrorKind::Schema, message).with_remedy("run a newer version of Sexton"));
    }
    if let Some(wanted) = &registration.database_identity
        && identity.as_ref() != Some(wanted)
    {
        let found = identity.map_or_else(|| "no name".to_owned(), |name| format!("the name {name}"));
        let message =
            format!("this replica was told to work in the database {wanted}, and this one has {found}");
        return Err(Error::new(ErrorKind::Refused, message).with_remedy(
            "is it a clone? else: UPDATE sexton.meta SET identity = …, or change database_identity in the local file",
        ));
    }
    Ok(Installation { install_id: row.get(0), lock_class: row.get(1) })
}

async fn observe(session: &Opened) -> Result<Incarnation> {
    let row = session.client.query_one(statements::OBSERVE, &[]).await?;
    let (readable, changed): (bool, Option<&str>) = (row.get(0), row.get(1));
    Ok(match (readable, changed) {
        (false, _) => Incarnation::Unreadable,
        (true, Some("system")) => Incarnation::NewSystem,
        (true, Some("timeline")) => Incarnation::NewTimeline,
        (true, _) => Incarnation::Same,
    })
}
