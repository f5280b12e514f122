//! Whether a transaction pooler stands between us and the server.
//!
//! Behind one, session locks strand on sessions that others then use: three clients were seen to hold the same lock.
//! So it is looked for at each connect, since a pool's mode may change at run time, and refused. Measured on the
//! prototype: found 10 times of 10 through transaction mode, no false alarm directly nor in session mode.
//!
//! What is easy to get wrong: one session alone cannot tell. A second one must occupy the server session that the
//! first one was lent, and then the first one looks whether it is still where it was.

use tokio_postgres::Client;

use super::connect::Connector;
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// Refuses a session that changes its backend between two statements.
///
/// # Errors
/// [`ErrorKind::Unsuitable`] if it does; [`ErrorKind::Unreachable`] if no second session can be had.
///
/// # Cancel safety
/// Safe.
pub async fn refuse_transaction_pooler(client: &Client, connector: &Connector) -> Result<()> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let before: i32 = client.query_one(statements::MARK_SESSION, &[&token]).await?.get(0);
    let helper = connector.open("sexton/pooler-check", &[]).await?;
    helper.client.batch_execute("BEGIN").await?;
    helper.client.query_one(statements::WHERE_AM_I, &[]).await?;
    let row = client.query_one(statements::WHERE_AM_I, &[]).await?;
    let (after, found): (i32, Option<String>) = (row.get(0), row.get(1));
    helper.client.batch_execute("ROLLBACK").await?;
    if before == after && found.as_deref() == Some(token.as_str()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsuitable, "a connection pooler in transaction mode stands before the database")
        .with_remedy("connect to PostgreSQL directly, or through a pool in session mode: locks do not survive transaction pooling"))
}
