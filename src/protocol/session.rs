//! A run session: the database session that holds a job's advisory lock and does the run's work.
//!
//! It is opened for one run and closed after it, never pooled, never shared, never opened again within a run; only from
//! one one-off of a job to the next it may go on, made as clean as a new one. What is easy to get wrong: no single
//! setting makes the server notice a client that is gone; these do so together. With the defaults of PostgreSQL a lock
//! outlived its client by more than two hours; with these, measured on the prototype, by 15 s at the most. All of them
//! may be set by any role.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio_postgres::{Client, Row, Statement, types::ToSql, types::Type};

use super::{
    ahead::Begun,
    connect::{Canceler, Connector, Opened},
    run::Stop,
};
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// How long the server waits in mid-batch for a client that was about to send the fence: no longer than the lease.
const HALF_DONE: Duration = Duration::from_secs(5);

/// How long a statement of a run may take, unless the run says otherwise.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long the server lets a run session be idle before it ends it: the bound on how long a frozen or unreachable
/// replica can keep its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Idle, in a transaction or out of one. Default 15 s. A run pings every 5 s.
    pub idle: Duration,
}

impl Default for Lease {
    fn default() -> Self {
        Lease { idle: Duration::from_secs(15) }
    }
}

/// Settings of a run session: the lease, and what the job asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// See [`Lease`].
    pub lease: Lease,
    /// `search_path`; `None` keeps the role's or the database's own, which the application's triggers need.
    pub search_path: Option<String>,
}

impl Settings {
    fn start_up(&self) -> Vec<(&str, String)> {
        let idle = format!("{}ms", self.lease.idle.as_millis());
        let mut settings = vec![
            ("default_transaction_isolation", "read committed".to_owned()),
            ("synchronous_commit", "on".to_owned()),
            // A generic plan made for one batch can be a sequential scan for the next.
            ("plan_cache_mode", "force_custom_plan".to_owned()),
            // Compiling the fence's small plans took 15 ms a batch where a kind had made them look costly (measured).
            ("jit", "off".to_owned()),
            // Below deadlock_timeout, so that the application is never the victim of a deadlock with us.
            ("lock_timeout", "200ms".to_owned()),
            ("statement_timeout", format!("{}ms", STATEMENT_TIMEOUT.as_millis())),
            ("idle_session_timeout", idle.clone()),
            ("idle_in_transaction_session_timeout", idle),
            ("client_connection_check_interval", "2s".to_owned()),
            // Without units (s, s, count, ms): these four are shown as the socket has them, never with a unit.
            ("tcp_keepalives_idle", "5".to_owned()),
            ("tcp_keepalives_interval", "2".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
            ("tcp_user_timeout", "12000".to_owned()),
        ];
        if let Some(path) = &self.search_path {
            settings.push(("search_path", path.clone()));
        }
        settings
    }
}

/// What is known of a session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transaction {
    /// None is open.
    None,
    /// One is open that nobody will finish: it was dropped.
    Abandoned,
    /// A future was dropped while the server worked for it: what became of it is not known.
    InDoubt,
}

/// An open run session.
pub(crate) struct RunSession {
    settings: Settings,
    client: Arc<Client>,
    canceler: Canceler,
    statements: BTreeMap<String, Statement>,
    pub(super) state: Transaction,
    /// The next batch, if it was begun already; its transaction is then open, and the state says so.
    pub(super) begun: Option<Begun>,
    // The connection's task stops when nobody listens any more, and ends this when it does; its content does not matter.
    messages: tokio::sync::mpsc::UnboundedReceiver<tokio_postgres::AsyncMessage>,
}

impl RunSession {
    /// Opens a session and reads its settings back.
    ///
    /// # Errors
    /// [`ErrorKind::Unsuitable`] if the settings are not in force: something in between drops them.
    pub(crate) async fn open(connector: &Connector, name: &str, settings: &Settings) -> Result<Self> {
        let wanted = settings.start_up();
        let given: Vec<(&str, &str)> = wanted.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Opened { client, messages, canceler } = connector.open(name, &given).await?;
        let settings = settings.clone();
        let client = Arc::new(client);
        let (statements, state) = (BTreeMap::new(), Transaction::None);
        let session = RunSession { settings, client, canceler, statements, state, begun: None, messages };
        session.verify(&wanted).await?;
        Ok(session)
    }

    /// Reads back what is in force.
    async fn verify(&self, wanted: &[(&str, String)]) -> Result<()> {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let names: [(&(dyn ToSql + Sync), Type); 1] = [(&names, Type::TEXT_ARRAY)];
        compare(wanted, &self.client.query_typed_one(statements::RUN_SESSION_SETTINGS, &names).await?)
    }

    /// Makes the session as clean as one that was just opened, and free of locks; `None` if that is in doubt, and it is
    /// closed. What not even DISCARD ALL takes back is for one and the same definition alone to see: libraries that were
    /// loaded, with what they keep (connections of `dblink`, globals of PL/Perl), and that a custom setting that was set
    /// once reads as empty and no longer as NULL.
    ///
    /// # Cancel safety
    /// Dropping the future closes the session.
    pub(crate) async fn renewed(mut self) -> Option<Self> {
        if self.state != Transaction::None {
            return None;
        }
        self.statements.clear();
        self.client.clear_type_cache();
        let wanted = self.settings.start_up();
        // One flight; the server answers in this order.
        let (left, discarded, verified) = futures_util::join!(
            self.client.query_typed_one(statements::SESSION_LEFTOVERS, &[]),
            self.client.query_typed(statements::DISCARD_SESSION, &[]),
            self.verify(&wanted),
        );
        let nothing_left = left.is_ok_and(|row| !row.get::<_, bool>(0));
        if !nothing_left || discarded.is_err() || verified.is_err() {
            tracing::debug!(nothing_left, discarded = discarded.is_ok(), "session.not_renewed");
            return None;
        }
        while self.messages.try_recv().is_ok() {}
        Some(self)
    }

    /// Whether it was opened with these settings, and is open.
    pub(crate) fn serves(&self, settings: &Settings) -> bool {
        self.settings == *settings && !self.client.is_closed()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The client, for what was sent and is answered later.
    pub(super) fn shared_client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// The client, for whoever must send something beside the run; it does not keep the session open.
    pub(super) fn weak_client(&self) -> Weak<Client> {
        Arc::downgrade(&self.client)
    }

    pub(crate) fn canceler(&self) -> &Canceler {
        &self.canceler
    }

    /// How long the server lets this session be idle between a batch's effect and its fence.
    pub(crate) fn half_done(&self) -> Duration {
        self.settings.lease.idle.min(HALF_DONE)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Waits until the connection has ended: by the server's word, or a reset. Silence is not noticed.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn closed(&mut self) {
        while self.messages.recv().await.is_some() {}
    }

    /// The statement prepared on this session, once.
    pub(crate) async fn prepare(
        &mut self,
        sql: &str,
        types: &[Type],
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare_typed(sql, types).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// One row of a statement that always gives one.
    pub(crate) async fn one(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, tokio_postgres::Error> {
        let statement = self.prepare(sql, &[]).await?;
        self.client.query_one(&statement, params).await
    }

    pub(super) async fn query(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> std::result::Result<Vec<Row>, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let rows = match self.prepare(sql, &[]).await {
            Ok(statement) => self.client.query(&statement, params).await,
            Err(error) => Err(error),
        };
        self.state = Transaction::None;
        Ok(rows?)
    }

    pub(super) async fn query_typed(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> std::result::Result<Vec<Row>, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let rows = self.client.query_typed(sql, params).await;
        self.state = Transaction::None;
        Ok(rows?)
    }

    pub(super) async fn describe(&mut self, sql: &str) -> std::result::Result<Statement, Stop> {
        self.settle_abandoned().await?;
        self.state = Transaction::InDoubt;
        let statement = self.client.prepare(sql).await;
        self.state = Transaction::None;
        Ok(statement?)
    }

    pub(super) async fn roll_back(&mut self) -> std::result::Result<(), Stop> {
        self.begun = None;
        self.client.batch_execute("ROLLBACK").await?;
        self.state = Transaction::None;
        Ok(())
    }

    /// Takes back a transaction that was dropped.
    pub(super) async fn settle_abandoned(&mut self) -> std::result::Result<(), Stop> {
        match self.state {
            Transaction::None => Ok(()),
            Transaction::Abandoned => self.roll_back().await,
            Transaction::InDoubt => Err(Stop::Lost(Error::new(
                ErrorKind::Unreachable,
                "a statement was abandoned half way, and what became of it is not known",
            ))),
        }
    }

    /// Tries to take an advisory lock; never waits.
    pub(crate) async fn try_lock(&self, class: i32, id: i32) -> Result<bool> {
        let key: [(&(dyn ToSql + Sync), Type); 2] = [(&class, Type::INT4), (&id, Type::INT4)];
        Ok(self.client.query_typed_one(statements::TRY_LOCK, &key).await?.get(0))
    }
}

/// Compares what is in force with what was asked for. On a Unix socket the TCP settings read as 0, rightly.
fn compare(wanted: &[(&str, String)], row: &Row) -> Result<()> {
    let by_tcp: bool = row.get(0);
    let serde_json::Value::Object(in_force) = row.get(1) else {
        return Err(Error::new(ErrorKind::Unsuitable, "the session does not tell its settings"));
    };
    for (name, value) in wanted.iter().filter(|(name, _)| by_tcp || !name.starts_with("tcp_")) {
        let found = in_force.get(*name).and_then(serde_json::Value::as_str).unwrap_or("nothing");
        if milliseconds(found) != milliseconds(value) {
            let message = format!("{name} is {found} in the session, though {value} was asked for");
            return Err(Error::new(ErrorKind::Unsuitable, message)
                .with_remedy("connect to PostgreSQL directly: a pooler in between drops the settings that make takeover safe and quick"));
        }
    }
    Ok(())
}

/// Durations in one unit, since the server shows 15000ms as 15s; anything else as it is.
fn milliseconds(setting: &str) -> String {
    let digits = setting.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match &setting[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        _ => return setting.replace(' ', ""),
    };
    digits.parse::<u64>().map_or_else(|_| setting.to_owned(), |n| (n * factor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_compare_in_one_unit() {
        assert_eq!(milliseconds("15s"), milliseconds("15000ms"));
        assert_eq!(milliseconds("5min"), milliseconds("300s"));
        assert_ne!(milliseconds("5s"), milliseconds("5min"));
        assert_eq!(milliseconds("\"$user\", public"), milliseconds("\"$user\",public"));
    }
}
