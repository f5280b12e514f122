//! Creates the schema `sexton_fence` in a database that is not the one of the schema `sexton`, so that jobs may work there.
//!
//! One script that may be run again, and no history: its few functions are found by their signatures. What is easy to get
//! wrong: the roles are those of the other database's cluster, which is perhaps another one. The login that replicas use
//! there must be a member of its `sexton_runner`.

use super::{Migrated, Options, Progress, begin, open, roles::FENCE, unlock};
use crate::{
    error::{Error, Result},
    protocol::connect::{Connector, Opened},
};

const CREATE_FENCE: &str = include_str!("../../../sql/create_fence.sql");

/// Brings the schema `sexton_fence` up to date: any number of programs may do so at once, and running it again has no
/// effect, except that rights are granted again.
///
/// # Errors
/// As [`run`](super::run).
///
/// # Cancel safety
/// Dropping the future leaves the schema as it was, or up to date.
pub async fn fence(
    connector: &Connector,
    options: &Options,
    progress: impl FnMut(Progress) + Send + 'static,
) -> Result<Migrated> {
    let Opened { client, messages: _messages, .. } = open(connector).await?;
    let (owner, notes) = begin(&client, options, FENCE, &mut (Box::new(progress) as _)).await?;
    client
        .batch_execute(CREATE_FENCE)
        .await
        .map_err(|error| Error::from(error).about("schema sexton_fence"))?;
    unlock(&client).await?;
    Ok(Migrated { applied: Vec::new(), owner, notes })
}
