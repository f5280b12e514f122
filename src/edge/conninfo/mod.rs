//! Connections as libpq users expect them: one string, the `PG*` variables, a service file, a password file.
//!
//! Stronger beats weaker, keyword by keyword: the connection string, then the service file, then the
//! environment, then the defaults. A connection string is a URL
//! (`postgresql://bob@db1:5432,db2/inventory?sslmode=verify-full`), pairs (`host=db1 dbname=inventory`), or the
//! bare name of a database, as in `psql inventory`. It is not the client library's parser, which knows fewer
//! keywords, no variables and no files, and takes some units differently.
//!
//! What is easy to get wrong: a password in an error. No message here repeats text that could be part of one,
//! and neither `Debug` nor `Display` shows it.
//!
//! # Where it differs from libpq
//! - `connect_timeout` (default 10 s) covers *all* of the connecting: every host, TLS and login. Each host gets an
//!   even share of what is left; 0 or less means a day.
//! - Keepalives are on by default after 15 s, every 5 s, 3 times; `tcp_user_timeout` is 20 s. Written values have
//!   libpq's units: seconds, `tcp_user_timeout` milliseconds; 0 means as the system has it.
//! - `target_session_attrs` is `read-write` where several hosts are named, else `any`. Standbys are refused.
//! - `sslmode` is `prefer` by default, as in libpq: encrypted where the server can, and *not verified*. A session to
//!   another machine that is not verified is warned of once. `sslmode=verify-full` is what you want there.
//! - `prefer` does not go back to clear text when a handshake fails, and `allow` and `prefer` never verify.
//! - A certificate must carry the host's name as a subject alternative name; the common name does not count.
//! - Keywords for Kerberos, OAuth, compression and `application_name` are accepted and have no effect; what
//!   insists on something that Sexton cannot do (`require_auth`, `gssencmode=require`, …) is refused.

mod dsn;
mod keywords;
mod machine;
mod passfile;
mod pem;
mod servers;
mod service;
mod settings;
mod target;
mod tls;
mod url;
mod verify;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::Result,
    protocol::connect::{Connector, Target},
};

pub use machine::{Contents, Machine, Os, OsUser};
use settings::Settings;
use target::Resolved;

/// Where to connect to, and how, as the user said it.
///
/// Files and variables are asked anew for each [`ConnInfo::target`], so that a rotated password is seen.
/// `Display` gives `host=… port=… dbname=… user=…`, without the password.
#[derive(Clone)]
pub struct ConnInfo {
    given: Settings,
    machine: Arc<dyn Machine>,
    summary: String,
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl ConnInfo {
    /// Reads a connection string, if there is one, over the service file and the environment of this process.
    ///
    /// ```
    /// use sexton::edge::conninfo::ConnInfo;
    ///
    /// let info = ConnInfo::from_env_and(Some("postgres://bob:secret@db1:5433/inventory"))?;
    /// assert_eq!(info.to_string(), "host=db1 port=5433 dbname=inventory user=bob");
    /// # Ok::<(), sexton::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the first thing that is wrong: where it was given,
    /// the keyword, and what to write instead.
    pub fn from_env_and(dsn: Option<&str>) -> Result<Self> {
        Self::on(Arc::new(Os), dsn)
    }

    /// As [`ConnInfo::from_env_and`], with the variables, files and user of `machine`.
    ///
    /// # Errors
    /// As there.
    pub fn on(machine: Arc<dyn Machine>, dsn: Option<&str>) -> Result<Self> {
        let given = dsn::parse(dsn.unwrap_or_default())?;
        let mut info = ConnInfo { given, machine, summary: String::new(), warned: Arc::default() };
        info.summary = info.resolve()?.summary;
        Ok(info)
    }

    /// What the client library is told. Doubtful things (a password file that others may read, a session
    /// to another machine that is not verified) are logged as warnings, each once.
    ///
    /// # Errors
    /// As [`ConnInfo::from_env_and`]: files and variables may have changed.
    pub fn target(&self) -> Result<Target> {
        let resolved = self.resolve()?;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in resolved.warnings {
            if !warned.contains(&warning) {
                tracing::warn!("{warning}");
                warned.insert(warning);
            }
        }
        Ok(resolved.target)
    }

    /// Opens sessions there. Files and variables are asked anew for each session.
    pub fn connector(self) -> Connector {
        Connector::new(move || self.target())
    }

    fn resolve(&self) -> Result<Resolved> {
        let machine = &*self.machine;
        let environment = Settings::from_environment(machine);
        let asked = self.given.clone().over(environment.clone());
        let service = service::load(&asked, machine)?;
        target::resolve(&self.given.clone().over(service).over(environment), machine)
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo({self})")
    }
}

#[cfg(test)]
mod tests;
