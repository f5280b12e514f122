//! The databases of a private cluster, and how to connect to them.
//!
//! What is easy to get wrong: a database that serves as a template must have no sessions while it is copied.

use tokio_postgres::{Client, Config};

use super::{Cluster, builder::Listen, home::SUPERUSER};
use crate::{
    error::{Error, Result},
    protocol::connect::Connector,
};

impl Cluster {
    /// The connection string of a database, in keyword form, through the socket and as superuser: for `psql`, for
    /// `DATABASE_URL`, and for this crate. Needs no password.
    pub fn conninfo(&self, database: &str) -> String {
        let host = self.folder.path().to_string_lossy();
        format!(
            "host={} port={} user={SUPERUSER} dbname={}",
            quote_value(&host),
            self.port,
            quote_value(database)
        )
    }

    /// As [`Cluster::conninfo`], by TCP and with the password; none unless the cluster was started with
    /// [`super::Builder::tcp`].
    pub fn tcp_conninfo(&self, database: &str) -> Option<String> {
        (self.listen == Listen::SocketAndTcp).then(|| {
            format!(
                "host=127.0.0.1 port={} user={SUPERUSER} password={} dbname={}",
                self.port,
                self.password,
                quote_value(database)
            )
        })
    }

    /// What [`Cluster::conninfo`] says, for the client library.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(self.port).user(SUPERUSER).dbname(database);
        config
    }

    /// Creates an empty database; its name may hold any character.
    ///
    /// # Errors
    /// If the server is down or refuses, for instance since the name is taken.
    ///
    /// # Cancel safety
    /// If the future is dropped early, the database may or may not be created.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.command(format!("create database {} template template0", quote_name(name))).await
    }

    /// Creates a database as a copy of another one, to which nobody may be connected; some 50 ms.
    ///
    /// # Errors
    /// As [`Cluster::create_database`], and if the template is missing or in use.
    ///
    /// # Cancel safety
    /// As [`Cluster::create_database`].
    pub async fn create_database_from(&self, template: &str, name: &str) -> Result<()> {
        self.command(format!("create database {} template {}", quote_name(name), quote_name(template))).await
    }

    /// Drops a database and ends the sessions on it. No effect if there is none of that name.
    ///
    /// # Errors
    /// If the server is down or refuses, for instance since the database is a template.
    ///
    /// # Cancel safety
    /// If the future is dropped early, the database may or may not be gone.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        self.command(format!("drop database if exists {} with (force)", quote_name(name))).await
    }

    /// Opens a session as superuser.
    pub(super) async fn session(&self, database: &str) -> Result<Client> {
        Ok(Connector::from(self.config(database)).open("sexton/cluster", &[]).await?.client)
    }

    async fn command(&self, statement: String) -> Result<()> {
        if self.postmaster.is_none() {
            return Err(super::start::not_running());
        }
        let session = self.session("postgres").await?;
        session.batch_execute(&statement).await.map_err(|error| Error::from(error).about("private cluster"))
    }
}

/// A value of a connection string, quoted if it needs to be.
fn quote_value(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

/// An identifier, always quoted.
fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_quote_what_needs_it() {
        assert_eq!(quote_value("/run/postgresql"), "/run/postgresql");
        assert_eq!(quote_value(r"it's a\b"), r"'it\'s a\\b'");
        assert_eq!(quote_value(""), "''");
        assert_eq!(quote_name(r#"od"d"#), r#""od""d""#);
    }
}
