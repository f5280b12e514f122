//! The one table that a job changes rows of: whether it is still the one that the job was saved for, and whether all who
//! are concerned may change it.
//!
//! It judges one row of the kind's own statement over the catalog, whose columns it reads by name: `name`, `same`, `kind`,
//! `protected`, `row_security`, `role`, `may`, `editor`, `editor_may`. What is easy to get wrong: a job lends the replica's
//! rights to whoever edited it last; so both need them.

use tokio_postgres::Row;

use super::{RunContext, Stop};

/// What a kind does to rows of its table, for its refusals.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The rights that it needs beside SELECT, as GRANT takes them.
    pub rights: &'a str,
    /// The columns that it writes, as they are shown.
    pub columns: &'a str,
}

/// The name and oid that `params.table` had when the job was saved.
///
/// # Errors
/// [`Stop::Refused`] if there was no such table then.
pub fn saved(context: &RunContext, table: &str) -> Result<(String, u32), Stop> {
    let target = context.target().map(|(name, oid)| (name.to_owned(), oid));
    target.ok_or_else(|| {
        let reason = format!("params.table: {table} was not found when the job was saved");
        Stop::refused(reason, "create it, then save the job again")
    })
}

/// What the catalog says of the table that was called `name`, if it still is that one.
///
/// # Errors
/// [`Stop::Refused`] if it is gone, or if another has its name.
pub fn still_there(rows: Vec<Row>, name: &str) -> Result<Row, Stop> {
    let Some(row) = rows.into_iter().next() else {
        let remedy = "create it and save the job again, or delete the job";
        return Err(Stop::refused(format!("params.table: {name} is gone"), remedy));
    };
    if !row.get::<_, bool>("same") {
        let reason = format!("params.table: {name} is another table now than when the job was saved");
        return Err(Stop::refused(reason, "save the job again with the table that is meant"));
    }
    Ok(row)
}

/// Whether it is a table of the application's, of which the replica's role sees all rows, and which that role and the
/// job's last editor may change.
///
/// # Errors
/// [`Stop::Refused`] with the first that is in the way, and the statement that mends it.
pub fn permit(row: &Row, change: Change<'_>) -> Result<(), Stop> {
    let name: &str = row.get("name");
    let role: &str = row.get("role");
    let Change { rights, columns } = change;
    let refused = |reason: String, remedy: String| Err(Stop::refused(reason, remedy));
    if !matches!(row.get("kind"), "r" | "p") {
        return refused(format!("params.table: {name} is no table"), "name a table".to_owned());
    }
    if row.get("protected") {
        return refused(format!("params.table: {name} is not the application's"), "name another".to_owned());
    }
    if row.get("row_security") {
        let reason = format!("row security hides rows of {name} from role {role}");
        return refused(reason, format!("ALTER ROLE {role} BYPASSRLS, or give it a policy as the owner"));
    }
    if !row.get::<_, bool>("may") {
        let reason = format!("role {role} may not read {name} and change {columns}");
        return refused(reason, format!("GRANT SELECT, {rights} ON {name} TO {role};"));
    }
    if !row.get::<_, bool>("editor_may") {
        let editor: &str = row.get("editor");
        let reason = format!("{editor}, who edited the job last, may not change {columns} of {name}");
        let remedy = format!("GRANT {rights} ON {name} TO {editor}, or let somebody else save the job");
        return refused(reason, remedy);
    }
    Ok(())
}
