//! Work in other databases, which a replica knows by name.
//!
//! A job whose `database` is set works there from its first statement on; a kind may also go from one to the next
//! ([`RunContext::work_in`]). What is easy to get wrong: Sexton's own tables are at home, so what a kind reads of them
//! goes by [`RunContext::query_home`]; and the run's own session, which says nothing meanwhile, must be kept alive.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};
use tokio_postgres::{Row, types::ToSql};
use tokio_util::sync::CancellationToken;

use super::{RunContext, Stop, keep::PING_TIMEOUT};
use crate::{
    error::{Error, ErrorKind},
    protocol::{
        connect::Connector,
        elsewhere::{Elsewhere, Extent, Pulse, about},
        held::Held,
    },
};

/// How often the run's own session is shown that the run lives while another is at work.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How much longer than a lease a session of the job's last holder may be waited for there: the server needs a moment to
/// end it, and so does its statement.
const MARGIN: Duration = Duration::from_secs(5);
/// How long between two tries for the job's lock there.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

type Find = dyn Fn(&str) -> Option<Connector> + Send + Sync;

/// How the other databases are reached, by the names that jobs give them. Default: there are none.
#[derive(Clone, Default)]
pub struct Databases(Option<Arc<Find>>);

impl Databases {
    /// As `find` says, which is asked each time. Tell their names too: [`Registry::know`](super::Registry::know).
    pub fn by(find: impl Fn(&str) -> Option<Connector> + Send + Sync + 'static) -> Self {
        Databases(Some(Arc::new(find)))
    }

    /// How this one is reached, if it is known.
    pub(crate) fn find(&self, name: &str) -> Option<Connector> {
        self.0.as_ref()?(name)
    }
}

/// Keeps the run's own session until it is dropped.
pub(crate) struct Keeper(JoinHandle<()>);

impl Keeper {
    fn new(pulse: Pulse, lost: CancellationToken) -> Self {
        Keeper(tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT_EVERY).await;
                match tokio::time::timeout(PING_TIMEOUT, pulse.beat()).await {
                    Ok(Ok(())) => {}
                    _ => return lost.cancel(),
                }
            }
        }))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RunContext {
    /// What is left of it when the work is over.
    pub(crate) fn into_held(self) -> Held {
        self.held
    }

    /// The other database that the work is done in now, by its name; `None` at home.
    pub fn database(&self) -> Option<&str> {
        self.held.elsewhere()
    }

    /// Does the work in this database from now on: reads, batches, cursor. `None` is where the job's definition says.
    /// Nothing happens if it is done there already.
    ///
    /// The cursor is one for the whole run, wherever its batches are. A batch that committed there and was not recorded
    /// at home is recorded now, and [`RunContext::cursor`] is its cursor if nothing has committed since.
    ///
    /// # Errors
    /// [`Stop::Failed`] if this replica does not know the name, the database is not to be had, has no fence, or a session
    /// of the job's last holder is still there after the longest that the server lets it be. [`Stop::Fenced`] if the run
    /// no longer holds its job.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn work_in(&mut self, database: Option<&str>) -> Result<(), Stop> {
        let (database, extent) = match (database, self.job_database.clone()) {
            (Some(name), own) if own.as_deref() != Some(name) => (Some(name.to_owned()), Extent::Part),
            (_, own) => (own, Extent::Whole),
        };
        if self.database() == database.as_deref() {
            return Ok(());
        }
        self.stop_if_draining()?;
        self.not_in_a_worker("work in another database")?;
        self.held.come_home();
        match database {
            Some(name) => self.enter(&name, extent).await,
            None => Ok(()),
        }
    }

    async fn enter(&mut self, name: &str, extent: Extent) -> Result<(), Stop> {
        let wrong = |job: &str, error: Error| Stop::Failed(about(error, job, name));
        let Some(connector) = self.databases.find(name) else {
            let error = Error::new(ErrorKind::Invalid, "this replica does not know it")
                .with_remedy(format!("add [databases.{name}] to its local file"));
            return Err(wrong(self.job(), error));
        };
        let mut elsewhere = Elsewhere::open(&self.held, name, &connector).await?;
        let deadline = Instant::now() + self.held.lease() + MARGIN;
        while !elsewhere.try_lock(&self.held).await? {
            let holder = elsewhere.lock_holder(&mut self.held).await?;
            if Instant::now() >= deadline {
                let holder = holder.unwrap_or_else(|| "somebody".to_owned());
                let error =
                    Error::new(ErrorKind::Refused, format!("the job's lock is held there by {holder}"))
                        .with_remedy("end that session, there: SELECT pg_terminate_backend(PID)");
                return Err(wrong(self.job(), error));
            }
            self.rest(LOOK_AGAIN).await?;
        }
        if self.keeper.is_none() {
            self.keeper = Some(Keeper::new(self.held.pulse(), self.home_lost.clone()));
        }
        self.held.enter(elsewhere, extent).await
    }

    /// Reads Sexton's own tables, wherever the work is done.
    ///
    /// # Errors
    /// As [`RunContext::query`].
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn query_home(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        self.stop_if_draining()?;
        self.held.query_home(sql, params).await
    }
}
