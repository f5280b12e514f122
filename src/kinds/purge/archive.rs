//! Rows are kept: in a table of the application's, inserted there by the statement that deletes them, or in a storage
//! (`stored`).
//!
//! Columns go by their names. What is easy to get wrong: a trigger on the archive may drop a row without an error, so the
//! rows of both are counted, and a batch that archived fewer than it deletes is taken back (see `remove`).

use serde::Deserialize;

#[cfg(feature = "backup")]
use super::stored::{self, Stored};
use super::{
    statement::Quoted,
    target::{self, Facts},
};
#[cfg(feature = "backup")]
use crate::{
    kind::Need,
    outside::{
        backup::{Format, is_prefix},
        secrets,
    },
};
use crate::{
    kind::{ParamError, RunContext, Stop, sql::is_about_the_text},
    statements,
};

/// Where rows are kept: a table, or a storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The table.
    pub table: Option<String>,
    /// The storage.
    #[cfg(feature = "backup")]
    pub storage: Option<String>,
    /// How a row is written there; as JSON lines if absent.
    #[cfg(feature = "backup")]
    pub format: Option<Format>,
    /// Put before every key there.
    #[cfg(feature = "backup")]
    pub prefix: Option<String>,
}

impl Archive {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, path: &str) -> Result<(), ParamError> {
        let wrong = |message: &str| Err(ParamError::new(path, message));
        if self.table.as_ref().is_some_and(|table| table.trim().is_empty()) {
            return wrong("names no table");
        }
        #[cfg(feature = "backup")]
        if let Some(storage) = &self.storage {
            return match &self.prefix {
                _ if self.table.is_some() => {
                    wrong("names a table and a storage: rows are kept in one of them")
                }
                _ if !secrets::is_name(storage) => {
                    wrong("storage takes a name of the replica's local file: [storages.NAME]")
                }
                Some(prefix) if !is_prefix(prefix) => {
                    wrong("prefix takes letters, digits and . _ - in parts divided by /")
                }
                _ => Ok(()),
            };
        }
        #[cfg(feature = "backup")]
        if self.format.is_some() || self.prefix.is_some() {
            return wrong("format and prefix are for a storage");
        }
        match &self.table {
            Some(_) => Ok(()),
            None => wrong("needs a table or a storage"),
        }
    }

    /// What a replica must know to keep rows there.
    #[cfg(feature = "backup")]
    pub fn needs(&self) -> Option<Need> {
        self.storage.clone().map(Need::Storage)
    }
}

/// An archive as the server knows it.
#[derive(Clone, Debug)]
pub struct Into {
    /// The table; for a storage, the one that rows pass through.
    pub table: Quoted,
    /// Its oid; 0 for a storage.
    pub oid: u32,
    /// The columns that are written, of both tables.
    pub columns: Vec<Quoted>,
    /// What is kept in a storage.
    #[cfg(feature = "backup")]
    pub stored: Option<Stored>,
}

impl Into {
    /// The columns, in a row.
    pub fn columns(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(Quoted::as_str).collect();
        names.join(", ")
    }

    /// For people.
    pub fn shown(&self) -> String {
        #[cfg(feature = "backup")]
        if let Some(stored) = &self.stored {
            return stored.shown();
        }
        self.table.to_string()
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
    #[cfg(feature = "backup")]
    if let Some(storage) = &archive.storage {
        return stored::read(context, archive, storage, facts).await;
    }
    let table = archive.table.as_deref().unwrap_or_default();
    let Some((was, oid)) = target::find(context, table).await? else {
        let reason = format!("params.{name}: there is no table {table}");
        let remedy = format!("CREATE TABLE {table} (LIKE {});", facts.name());
        return Err(Stop::refused(reason, remedy));
    };
    let rows = context.query(statements::PURGE_ARCHIVE, &[&facts.oid(), &oid]).await?;
    let Some(row) = rows.first() else {
        return Err(target::gone(name, &was, context.job()));
    };
    let there: String = row.get("name");
    if there != was {
        let reason = format!("params.{name}: {was} was renamed or replaced since the job was saved");
        return Err(Stop::refused(reason, target::arm_again(context.job())));
    }
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
    let into = Into {
        table: Quoted::by_server(there.clone()),
        oid,
        columns,
        #[cfg(feature = "backup")]
        stored: None,
    };
    match context.describe(&into.insert(facts.name())).await {
        Ok(_) => Ok(into),
        Err(Stop::Failed(error)) if is_about_the_text(&error) => {
            refused(format!("cannot take rows of {}: {error}", facts.name()), "alter the column".to_owned())
        }
        Err(stop) => Err(stop),
    }
}
