//! A batch of several statements in one transaction, which ends with the fence.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use serde::Serialize;
use tokio_postgres::{Row, types::ToSql};

use super::{held::Held, run::Stop};
use crate::error::{Error, ErrorKind};

/// A batch of several statements; dropped without [`FencedTransaction::commit`], it is taken back.
pub struct FencedTransaction<'a> {
    pub(super) held: &'a mut Held,
}

impl FencedTransaction<'_> {
    /// Executes a statement; returns the number of rows affected.
    ///
    /// # Errors
    /// Whatever the database reports. The transaction is then as good as dropped.
    ///
    /// # Cancel safety
    /// As [`crate::kind::RunContext::query`].
    pub async fn execute(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Stop> {
        let session = self.held.at_work();
        let done = async {
            let statement = session.prepare(sql, &[]).await?;
            Ok(session.client().execute(&statement, params).await?)
        };
        let done = done.await;
        self.held.told(done)
    }

    /// Executes a statement; returns its rows.
    ///
    /// # Errors
    /// As [`FencedTransaction::execute`].
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Stop> {
        let session = self.held.at_work();
        let rows = async {
            let statement = session.prepare(sql, &[]).await?;
            Ok(session.client().query(&statement, params).await?)
        };
        let rows = rows.await;
        self.held.told(rows)
    }

    /// Begins a `COPY … TO STDOUT`. The server waits where the stream is not read.
    ///
    /// # Errors
    /// As [`FencedTransaction::execute`].
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`]; of a stream that is dropped, the server sends the rest to nobody first.
    pub async fn copy_out(
        &mut self,
        sql: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, Stop>> + Send + use<>, Stop> {
        let statement = self.held.session.prepare(sql, &[]).await?;
        let stream = self.held.session.client().copy_out(&statement).await?;
        Ok(stream.map_err(Stop::from))
    }

    /// Takes it back now, locks included. A transaction that is merely dropped keeps its locks until the run does
    /// something else.
    ///
    /// # Errors
    /// If the session is lost.
    ///
    /// # Cancel safety
    /// As [`crate::kind::RunContext::query`].
    pub async fn roll_back(self) -> Result<(), Stop> {
        self.held.at_work().settle_abandoned().await
    }

    /// Commits the transaction together with `cursor` as the new position and `rows` as its number of rows, or takes
    /// it back.
    ///
    /// # Errors
    /// [`Stop::Fenced`] if the run no longer holds its job: nothing was written.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the batch committed: the run is over on this replica.
    pub async fn commit(self, rows: u64, cursor: &impl Serialize) -> Result<(), Stop> {
        let cursor = serde_json::to_value(cursor).map_err(|cause| {
            Stop::Failed(
                Error::new(ErrorKind::Invalid, "the cursor cannot be stored as JSON").caused_by(cause),
            )
        })?;
        let committed = self.held.fence_and_commit(rows, cursor, None).await;
        Ok(self.held.told(committed)??)
    }
}
