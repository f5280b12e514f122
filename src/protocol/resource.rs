//! Named locks that a run holds besides its job's own, on the same session, so that they die with it; and a session that
//! holds nothing else, for scripts.
//!
//! Those that the job names are taken by the claim itself. What is easy to get wrong: advisory locks are re-entrant within
//! a session, so a resource taken twice by one run must be given back twice. And since locks vanish with their session,
//! the run's row also says which it held: the only trace that a lost run leaves.

use std::fmt;

use serde_json::{Value, json};
use tokio_postgres::types::Type;

use super::{
    connect::Connector,
    held::Held,
    run::Stop,
    session::{RunSession, Settings},
};
use crate::{error::Result, statements};

/// A resource, and whether others may hold it at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    name: String,
    access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Exclusive,
    Shared,
}

impl Wanted {
    /// For oneself.
    pub fn exclusive(name: impl Into<String>) -> Self {
        Wanted { name: name.into(), access: Access::Exclusive }
    }

    /// Together with others who want it shared.
    pub fn shared(name: impl Into<String>) -> Self {
        Wanted { name: name.into(), access: Access::Shared }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn is_shared(&self) -> bool {
        self.access == Access::Shared
    }

    /// As the database writes it: a name, or an object if it is shared.
    fn to_json(&self) -> Value {
        if self.is_shared() { json!({ "name": self.name, "shared": true }) } else { json!(self.name) }
    }

    /// Reads a list that the database wrote.
    pub(super) fn list(list: &Value) -> Vec<Wanted> {
        let one = |item: &Value| match item.as_str() {
            Some(name) => Some(Wanted::exclusive(name)),
            None => Some(Wanted::shared(item.get("name")?.as_str()?)),
        };
        list.as_array().into_iter().flatten().filter_map(one).collect()
    }
}

impl From<&str> for Wanted {
    fn from(name: &str) -> Self {
        Wanted::exclusive(name)
    }
}

impl From<&String> for Wanted {
    fn from(name: &String) -> Self {
        Wanted::exclusive(name)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What came of trying for resources.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They are ours.
    All,
    /// None is.
    Held {
        /// The one that was not free.
        resource: String,
        /// Who has it, in words.
        behind: String,
    },
}

/// Tries for resources on this session: all or none, in the order that is the same for everybody.
async fn take(session: &mut RunSession, wanted: &[Wanted]) -> Result<Taken, tokio_postgres::Error> {
    let list = Value::Array(wanted.iter().map(Wanted::to_json).collect());
    let row = session.one(statements::TAKE_RESOURCES, &[&list]).await?;
    Ok(match row.get("taken") {
        true => Taken::All,
        false => Taken::Held { resource: row.get("resource"), behind: row.get("behind") },
    })
}

impl Held {
    /// Tries to take a resource. Never waits.
    pub(crate) async fn take_resource(&mut self, wanted: &Wanted) -> Result<Taken, Stop> {
        let (_, session) = self.session().await?;
        let taken = take(session, std::slice::from_ref(wanted)).await?;
        if taken == Taken::All {
            self.resources.push(wanted.clone());
            self.note_resources().await?;
        }
        Ok(taken)
    }

    /// Gives a resource back.
    pub(crate) async fn give_resource(&mut self, wanted: &Wanted) -> Result<(), Stop> {
        let (_, session) = self.session().await?;
        let row = session.one(statements::GIVE_RESOURCE, &[&wanted.name(), &wanted.is_shared()]).await?;
        debug_assert!(row.get::<_, bool>(0), "resource {wanted} was held");
        if let Some(at) = self.resources.iter().rposition(|held| held == wanted) {
            self.resources.remove(at);
        }
        self.note_resources().await
    }

    async fn note_resources(&mut self) -> Result<(), Stop> {
        let names = Value::Array(self.resources.iter().map(Wanted::to_json).collect());
        let (claim, session) = self.session().await?;
        let run = claim.run_id;
        session.one(statements::NOTE_RESOURCES, &[&run, &names]).await?;
        Ok(())
    }
}

/// A session that holds resources and does nothing else: for scripts outside of any job.
pub(crate) struct Locks {
    session: RunSession,
}

#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only the command line needs it"))]
impl Locks {
    /// Opens a session with the lease of a run's.
    ///
    /// # Errors
    /// As a run session's.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session.
    pub(crate) async fn open(connector: &Connector, name: &str) -> Result<Self> {
        Ok(Locks { session: RunSession::open(connector, name, &Settings::default()).await? })
    }

    /// Tries for resources: all or none.
    ///
    /// # Errors
    /// If the session is lost, or the role may not.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which are held: drop the session too.
    pub(crate) async fn take(&mut self, wanted: &[Wanted]) -> Result<Taken> {
        Ok(take(&mut self.session, wanted).await?)
    }

    /// Shows the server that the client lives: a session that is idle for 15 s is ended, and its locks are free.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn ping(&self) -> Result<()> {
        let none: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
        self.session.client().query_typed(statements::SERVER, none).await?;
        Ok(())
    }

    /// Gives all of them up, and wakes those who wait.
    ///
    /// # Errors
    /// If the session is lost: they are free then too.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session.
    pub(crate) async fn give_all(mut self) -> Result<()> {
        self.session.one(statements::GIVE_ALL, &[]).await?;
        Ok(())
    }
}
