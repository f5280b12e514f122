//! Rows that others refer to: left where the job says `on_referenced = "skip"`.
//!
//! A condition for each foreign key without a cascade; the server's own check stays behind it. What is easy to get
//! wrong: a reference that is made between the condition and the check fails the batch, as it should, and the attempt
//! with it; the next one finds the reference and leaves the row.

use super::{
    statement::{Quoted, Scope},
    target::Facts,
};
use crate::{
    kind::{RunContext, Stop},
    statements,
};

/// The conditions, each true for rows that nobody refers to by one of the foreign keys.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn unreferenced(
    context: &mut RunContext,
    facts: &Facts,
    table: &Quoted,
) -> Result<Vec<Quoted>, Stop> {
    let rows = context.query(statements::PURGE_REFERENCES, &[&facts.oid()]).await?;
    let condition = |row: &tokio_postgres::Row| {
        let quoted = |names: Vec<String>| names.into_iter().map(Quoted::by_server).collect::<Vec<_>>();
        let (theirs, ours) = (quoted(row.get("theirs")), quoted(row.get("ours")));
        Scope::unless_listed(table, &Quoted::by_server(row.get("child")), theirs.iter().zip(&ours))
    };
    Ok(rows.iter().map(condition).collect())
}
