//! What is recorded of each change: in Sexton's own audit, and in a table of the application's where there is one.
//!
//! Both are written by the statement that makes the changes. What is easy to get wrong: the application's table is written
//! with the replica's rights, so whoever edited the job last must have the same right.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use super::{place::Typed, statement::Target};
use crate::{
    kind::{
        ParamError, RunContext, Stop,
        sql::{Quoted, Sql},
    },
    statements,
};

/// A table of the application's that gets a row for each change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The table.
    pub table: String,
    /// What each of its columns is set to; the others have their defaults.
    pub columns: BTreeMap<String, Fact>,
}

/// What a column of the application's audit is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The instant of the change.
    At,
    /// The run's id.
    Run,
    /// The job's name.
    Job,
    /// The table that was changed.
    Table,
    /// The key of the row: in a json column an object by the names of its columns, else the value itself.
    Key,
    /// Whom the row belongs to.
    Owner,
    /// What was removed from which column.
    Removed,
    /// Whether the row was deleted.
    Deleted,
    /// Always the same text.
    Text(String),
}

impl Fact {
    fn parse(text: &str) -> Option<Fact> {
        Some(match text {
            "at" => Fact::At,
            "run" => Fact::Run,
            "job" => Fact::Job,
            "table" => Fact::Table,
            "key" => Fact::Key,
            "owner" => Fact::Owner,
            "removed" => Fact::Removed,
            "deleted" => Fact::Deleted,
            _ => Fact::Text(text.strip_prefix('\'')?.strip_suffix('\'')?.to_owned()),
        })
    }
}

impl<'de> Deserialize<'de> for Fact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Fact::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "\"{text}\" is none of at, run, job, table, key, owner, removed, deleted, and no fixed text, which stands \
                 in single quotes: \"'maintenance'\""
            ))
        })
    }
}

impl Audit {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self, owner: Option<&str>) -> Result<(), ParamError> {
        if self.table.trim().is_empty() {
            return Err(ParamError::new("audit.table", "is empty"));
        }
        if self.columns.is_empty() {
            return Err(ParamError::new(
                "audit.columns",
                "is empty; say what is written, such as { details = \"removed\" }",
            ));
        }
        for (name, fact) in &self.columns {
            if name.trim().is_empty() {
                return Err(ParamError::new("audit.columns", "has a column without a name"));
            }
            if *fact == Fact::Owner && owner.is_none() {
                return Err(ParamError::new(
                    format!("audit.columns.{name}"),
                    "needs `owner`: whom a changed row belongs to",
                ));
            }
        }
        Ok(())
    }
}

/// The application's table as the server knows it.
#[derive(Debug)]
pub struct Log {
    table: Quoted,
    columns: Vec<(Typed, Fact)>,
    job: String,
}

/// Finds the table.
///
/// # Errors
/// [`Stop::Refused`] with what is in the way: the table, a column, a right.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn find(context: &mut RunContext, audit: &Audit) -> Result<Log, Stop> {
    let names: Vec<&str> = audit.columns.keys().map(String::as_str).collect();
    let run = context.run_id();
    let rows = context.query(statements::REFERENCES_AUDIT, &[&audit.table, &names, &run]).await?;
    let (mut table, mut columns) = (None, Vec::new());
    for (row, (called, fact)) in rows.iter().zip(&audit.columns) {
        let refused = |param: String, reason: String, remedy: String| {
            Err(Stop::refused(format!("params.audit.{param}: {reason}"), remedy))
        };
        let given = &audit.table;
        let Some(name) = row.get::<_, Option<String>>("name") else {
            return refused(
                "table".to_owned(),
                format!("there is no table {given}"),
                "create it, or edit the job".to_owned(),
            );
        };
        if row.get("protected") || !matches!(row.get("kind"), "r" | "p") {
            return refused(
                "table".to_owned(),
                format!("{name} is no table of the application's"),
                "name another".to_owned(),
            );
        }
        let Some(ty) = row.get::<_, Option<String>>("type") else {
            return refused(
                format!("columns.{called}"),
                format!("{name} has no such column"),
                "edit the job".to_owned(),
            );
        };
        let column: String = row.get("column");
        let (role, editor): (&str, &str) = (row.get("role"), row.get("editor"));
        if !row.get::<_, bool>("may") {
            let reason = format!("role {role} may not write {column} of {name}");
            return refused("table".to_owned(), reason, format!("GRANT INSERT ON {name} TO {role};"));
        }
        if !row.get::<_, bool>("editor_may") {
            let reason = format!("{editor}, who edited the job last, may not write {column} of {name}");
            let remedy = format!("GRANT INSERT ON {name} TO {editor}; or let another edit the job");
            return refused("table".to_owned(), reason, remedy);
        }
        table = Some(Quoted::by_server(name));
        columns.push((Typed { name: Quoted::by_server(column), ty }, fact.clone()));
    }
    let table = table.ok_or_else(|| Stop::refused("the run no longer holds its job", "run it again"))?;
    Ok(Log { table, columns, job: context.job().to_owned() })
}

impl Target {
    /// What Sexton's audit keeps of a row of `sx_change`: its key, its owner, and what was removed from which column.
    pub(super) fn audit<'a>(&'a self, sql: Sql<'a>) -> Sql<'a> {
        let sql = sql.then("pg_catalog.jsonb_build_object('table', ").bind(&self.table_name, "text");
        let sql = self.key_object(sql.then(", 'key', "));
        self.removed(sql.then(", 'owner', owner, 'deleted', dropped, 'removed', ")).then(")")
    }

    /// Writes a row of the application's table for each row of `sx_change` with a number among `changed`.
    pub(super) fn log<'a>(
        &'a self,
        sql: Sql<'a>,
        log: &'a Log,
        run: &'a uuid::Uuid,
        changed: &str,
    ) -> Sql<'a> {
        let names: Vec<&str> = log.columns.iter().map(|(column, _)| column.name.as_str()).collect();
        let mut sql = sql
            .then("INSERT INTO ")
            .then(log.table.as_str())
            .then(" (")
            .then(&names.join(", "))
            .then(") SELECT ");
        for (at, (column, fact)) in log.columns.iter().enumerate() {
            sql = sql.then(if at == 0 { "(" } else { ", (" });
            sql = match fact {
                Fact::At => sql.then("pg_catalog.now()"),
                Fact::Run => sql.bind(run, "uuid"),
                Fact::Job => sql.bind(&log.job, "text"),
                Fact::Table => sql.bind(&self.table_name, "text"),
                Fact::Key if self.keys.len() == 1 && !matches!(column.ty.as_str(), "json" | "jsonb") => {
                    sql.then("k0")
                }
                Fact::Key => self.key_object(sql),
                Fact::Owner => sql.then("owner"),
                Fact::Removed => self.removed(sql),
                Fact::Deleted => sql.then("dropped"),
                Fact::Text(text) => sql.bind(text, "text"),
            };
            // By way of text every fact goes into every type that can hold it.
            sql = sql.then(")::text::").then(&column.ty);
        }
        sql.then(" FROM sx_change WHERE n IN (").then(changed).then(") ORDER BY n")
    }

    fn key_object<'a>(&'a self, sql: Sql<'a>) -> Sql<'a> {
        let mut sql = sql.then("pg_catalog.jsonb_build_object(");
        for (at, name) in self.key_names.iter().enumerate() {
            sql = sql.then(if at == 0 { "" } else { ", " }).bind(name, "text").then(&format!(", k{at}"));
        }
        sql.then(")")
    }

    fn removed<'a>(&'a self, mut sql: Sql<'a>) -> Sql<'a> {
        for (at, place) in self.places.iter().enumerate() {
            sql = sql.then(if at == 0 { "" } else { " || " });
            sql =
                sql.then(&format!("CASE WHEN r{at} IS NULL THEN '{{}}' ELSE pg_catalog.jsonb_build_object("));
            sql = sql.bind(&place.called, "text").then(&format!(", r{at}) END"));
        }
        sql
    }
}
