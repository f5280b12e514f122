//! Rows are kept in a table of the application's: inserted there by the statement that deletes them.
//!
//! Columns go by their names. What is easy to get wrong: a trigger on the archive may drop a row without an error, so the
//! rows of both are counted, and a batch that archived fewer than it deletes is taken back (see `remove`).

use serde::Deserialize;

use super::{
    statement::Quoted,
    target::{self, Facts, wrong},
};
use crate::{
    kind::{ParamError, RunContext, Stop, sql::is_about_the_text},
    statements,
};

/// Where rows are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The table.
    pub table: String,
}

impl Archive {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, path: &str) -> Result<(), ParamError> {
        match self.table.trim().is_empty() {
            true => Err(ParamError::new(path, "names no table")),
            false => Ok(()),
        }
    }
}

/// An archive as the server knows it.
#[derive(Clone, Debug)]
pub struct Into {
    /// The table.
    pub table: Quoted,
    /// Its oid.
    pub oid: u32,
    /// The columns that are written, of both tables.
    pub columns: Vec<Quoted>,
}

impl Into {
    /// The columns, in a row.
    pub fn columns(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(Quoted::as_str).collect();
        names.join(", ")
    }

    /// Inserts what a query called `from` gives.
    pub fn insert(&self, from: &str) -> String {
        let (table, columns) = (&self.table, self.columns());
        format!("INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {from}")
    }
}

/// Looks the archive up, and refuses one that would not take the rows. `name` is the parameter.
///
/// # Errors
/// A refusal that says what is missing.
pub async fn read(
    context: &mut RunContext,
    archive: &Archive,
    facts: &Facts,
    name: &str,
) -> Result<Into, Stop> {
    let Some((_, oid)) = target::find(context, &archive.table).await? else {
        let reason = format!("params.{name}: there is no table {}", archive.table);
        let remedy = format!("CREATE TABLE {} (LIKE {});", archive.table, facts.name());
        return Err(Stop::refused(reason, remedy));
    };
    let rows = context.query(statements::PURGE_ARCHIVE, &[&facts.oid(), &oid]).await?;
    let Some(row) = rows.first() else {
        return Err(wrong(name, format!("table {} is gone", archive.table)));
    };
    let there: String = row.get("name");
    let refused = |reason: String, remedy: String| {
        Err(Stop::refused(format!("params.{name}: {there} {reason}"), remedy))
    };
    if row.get("related") {
        return refused("is the table itself or a part of it".to_owned(), "name another table".to_owned());
    }
    if !row.get::<_, bool>("usable") {
        return refused(
            "is no table that rows can be inserted into here".to_owned(),
            "name a table".to_owned(),
        );
    }
    if !row.get::<_, bool>("durable") {
        let remedy = format!("ALTER TABLE {there} SET LOGGED;");
        return refused("is not logged, and may be empty after a crash".to_owned(), remedy);
    }
    let list = |name: &str| row.get::<_, Vec<String>>(name);
    let missing = list("missing");
    if !missing.is_empty() {
        let types = list("missing_types");
        let add: Vec<String> =
            missing.iter().zip(&types).map(|(column, ty)| format!("ADD COLUMN {column} {ty}")).collect();
        return refused(
            format!("has no column {}", missing.join(", ")),
            format!("ALTER TABLE {there} {};", add.join(", ")),
        );
    }
    let unfilled = list("unfilled");
    if let Some(column) = unfilled.first() {
        return refused(
            format!("wants a value for {}, which {} does not have", unfilled.join(", "), facts.name()),
            format!("ALTER TABLE {there} ALTER COLUMN {column} SET DEFAULT …;"),
        );
    }
    if !row.get::<_, bool>("may_insert") {
        let role: String = row.get("role");
        return refused(
            format!("may not be inserted into by role {role}"),
            format!("GRANT INSERT ON {there} TO {role};"),
        );
    }
    let columns = list("columns").into_iter().map(Quoted::by_server).collect();
    let into = Into { table: Quoted::by_server(there.clone()), oid, columns };
    match context.describe(&into.insert(facts.name())).await {
        Ok(_) => Ok(into),
        Err(Stop::Failed(error)) if is_about_the_text(&error) => {
            refused(format!("cannot take rows of {}: {error}", facts.name()), "alter the column".to_owned())
        }
        Err(stop) => Err(stop),
    }
}
