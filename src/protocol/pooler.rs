//! Whether a transaction pooler stands between us and the server.
//!
//! Behind one, session locks strand on sessions that others then use: three clients were seen to hold the same lock.
//! So it is looked for at each connect, since a pool's mode may change at run time, and refused. Measured on the
//! prototype: found 10 times of 10 through transaction mode, no false alarm directly nor in session mode.
//!
//! What is easy to get wrong: one session alone cannot tell. A second one must occupy the server session that the
//! first one was lent, and then the first one looks whether it is still where it was. All of it goes by unnamed
//! statements: closing a named one sends a message of its own, which may hold the lent session just when the second
//! one asks for it (seen: 1 of 12 poolers was missed).

use tokio_postgres::{Client, types::Type};

use super::{
    connect::Connector,
    session::{RunSession, Settings},
};
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// Refuses a session that changes its backend between two statements, and what stands in the way of run sessions.
///
/// # Errors
/// [`ErrorKind::Unsuitable`] if it does, or if a run session's settings are refused or dropped; [`ErrorKind::Unreachable`] if no second session can be had.
///
/// # Cancel safety
/// Safe.
pub async fn refuse_transaction_pooler(client: &Client, connector: &Connector) -> Result<()> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let marked = client.query_typed(statements::MARK_SESSION, &[(&token, Type::TEXT)]).await?;
    // The helper is a run session, so that whatever refuses or drops the settings of one is found now too.
    let helper = RunSession::open(connector, "sexton/pooler-check", &Settings::default()).await?;
    helper.client().batch_execute("BEGIN").await?;
    helper.client().query_typed(statements::WHERE_AM_I, &[]).await?;
    let found = client.query_typed(statements::WHERE_AM_I, &[]).await?;
    helper.client().batch_execute("ROLLBACK").await?;
    if let ([marked], [found]) = (marked.as_slice(), found.as_slice())
        && marked.get::<_, i32>(0) == found.get::<_, i32>(0)
        && found.get::<_, Option<&str>>(1) == Some(token.as_str())
    {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsuitable,
        "a connection pooler in transaction mode stands before the database",
    )
    .with_remedy("connect to PostgreSQL directly: locks do not survive transaction pooling"))
}
