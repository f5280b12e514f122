//! Rows that others refer to: left where the job says `on_referenced = "skip"`.
//!
//! A condition for each foreign key without a cascade; the server's own check stays behind it. Children that the job names
//! do not count, since they go first; what refers to these does. What is easy to get wrong: a reference that is made
//! between the condition and the check fails the batch, as it should, and the attempt with it; the next one finds the
//! reference and leaves the row.

use tokio_postgres::Row;

use super::{
    family::{Family, Node},
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
    family: &Family,
) -> Result<Vec<Quoted>, Stop> {
    let named = family.constraints();
    let counts = |row: &Row| !named.contains(&row.get("constraint"));
    let rows = context.query(statements::PURGE_REFERENCES, &[&facts.oid()]).await?;
    let mut conditions: Vec<Quoted> =
        rows.iter().filter(|row| counts(row)).map(|row| nobody(table, row, "")).collect();
    for node in &family.nodes {
        let rows = context.query(statements::PURGE_REFERENCES, &[&node.facts.oid()]).await?;
        for row in rows.iter().filter(|row| counts(row)) {
            let apart = if row.get::<_, u32>("child_oid") == node.facts.oid() {
                siblings(node)
            } else {
                String::new()
            };
            let nobody = nobody(&node.link.table, row, &apart);
            conditions.push(family.none(table, node, &format!("NOT {nobody}")));
        }
    }
    Ok(conditions)
}

/// Nobody refers to a row of `table` by this foreign key.
fn nobody(table: &Quoted, row: &Row, apart: &str) -> Quoted {
    let quoted = |names: Vec<String>| names.into_iter().map(Quoted::by_server).collect::<Vec<_>>();
    let (theirs, ours) = (quoted(row.get("theirs")), quoted(row.get("ours")));
    Scope::unless_listed(table, &Quoted::by_server(row.get("child")), theirs.iter().zip(&ours), apart)
}

/// Rows of the same child that belong to the same parent go with it, and do not count as referring.
fn siblings(node: &Node) -> String {
    let table = &node.link.table;
    let of = |before: &str| {
        let names: Vec<String> = node.link.theirs.iter().map(|name| format!("{before}.{name}")).collect();
        names.join(", ")
    };
    format!(" AND ({}) IS DISTINCT FROM ({})", of("listed"), of(table.as_str()))
}
