//! A session besides the run's own, to read much by: one snapshot, read only, streamed.
//!
//! COPY keeps a session busy for as long as it takes, and the run's own must answer pings meanwhile. What a reader gives is
//! not fenced; whoever acts on it does so by a batch. What is easy to get wrong: a stream that is dropped is not over for
//! the server, which would send the rest to nobody; so a reader that is dropped cancels what it executes.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use tokio_postgres::{Client, Row, types::ToSql};

use super::{RunContext, Stop};
use crate::{
    error::Error,
    protocol::connect::{Canceler, Opened},
    statements,
};

/// How values are written, whatever the role's own settings are, and what keeps a session that works for long.
const SETTINGS: &[(&str, &str)] = &[
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    // Rows that a policy would hide are an error, and never just missing.
    ("row_security", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "300000"),
    ("client_connection_check_interval", "2s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
];

/// See the module; from [`RunContext::reader`].
pub struct Reader {
    client: Client,
    canceler: Canceler,
    busy: bool,
    _messages: tokio::sync::mpsc::UnboundedReceiver<tokio_postgres::AsyncMessage>,
}

impl RunContext {
    /// Opens a session to read by, with the replica's rights and the `search_path` of the run's session, and text forms
    /// of values that do not depend on settings.
    ///
    /// # Errors
    /// [`Stop::Drained`] when this replica shuts down; [`Stop::Lost`] if the database cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn reader(&mut self) -> Result<Reader, Stop> {
        let rows = self.query(statements::SEARCH_PATH, &[]).await?;
        let path: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
        let mut settings = SETTINGS.to_vec();
        settings.push(("search_path", &path));
        let connector = self.connector.clone();
        let name = format!("sexton/read/{}", self.job());
        let opened = self.keep_while(connector.open(&name, &settings)).await??;
        let Opened { client, messages, canceler } = opened;
        Ok(Reader { client, canceler, busy: false, _messages: messages })
    }
}

impl Reader {
    /// Executes statements without values, such as BEGIN.
    ///
    /// # Errors
    /// Whatever the database reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the reader fit for nothing but being dropped.
    pub async fn execute(&mut self, sql: &str) -> Result<(), Error> {
        self.busy = true;
        let done = self.client.batch_execute(sql).await;
        self.busy = false;
        Ok(done?)
    }

    /// Executes one statement; returns its rows.
    ///
    /// # Errors
    /// As [`Reader::execute`].
    ///
    /// # Cancel safety
    /// As [`Reader::execute`].
    pub async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.busy = true;
        let rows = self.client.query(sql, params).await;
        self.busy = false;
        Ok(rows?)
    }

    /// Begins `COPY … TO STDOUT`. The server waits where the stream is not read.
    ///
    /// # Errors
    /// As [`Reader::execute`].
    ///
    /// # Cancel safety
    /// As [`Reader::execute`].
    pub async fn copy_out(
        &mut self,
        sql: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + use<>, Error> {
        // It stays busy until `copied` says that the stream came to its end.
        self.busy = true;
        let stream = self.client.copy_out(sql).await?;
        Ok(stream.map_err(Error::from))
    }

    /// Says that the stream of [`Reader::copy_out`] came to its end.
    pub fn copied(&mut self) {
        self.busy = false;
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.busy {
            return;
        }
        let canceler = self.canceler.clone();
        runtime.spawn(async move {
            if let Err(error) = canceler.cancel().await {
                tracing::debug!(%error, "session.cancel_failed");
            }
        });
    }
}
