//! A retention of each row's own: from a column of it, or from a query that knows one for each tenant.
//!
//! The row's cutoff is computed by the server, row by row, from the wall clock that the whole purge counts back from;
//! the purge's own cutoff, at the floor, stays in force above it. What is easy to get wrong: an age compared with what
//! another column says is served by no index, so such a purge looks at every row that is older than the floor.

use serde::Deserialize;
use tokio_postgres::types::Type;

use super::{
    age::AgeType,
    kept::OwnRetention,
    params::{CutoffFrom, Params},
    statement::Quoted,
    target::{self, Facts, wrong},
};
use crate::kind::{ParamError, RunContext, Stop, check, interval::Retention};

/// Tells the retention of each key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionQuery {
    /// A SELECT of two columns: the key, and its retention as an interval.
    pub query: String,
    /// The column of the table that is compared with the key.
    pub key: String,
}

impl RetentionQuery {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ParamError> {
        let message = match (self.query.trim().is_empty(), self.key.trim().is_empty()) {
            (true, _) => "query is empty; write a SELECT of a key and an interval",
            (_, true) => "key is empty; name the column of the table that the query's key is compared with",
            _ => return check::sql("retention_query.query", &self.query),
        };
        Err(ParamError::new("retention_query", message))
    }
}

/// What the params say of rows with a retention of their own, as the server understands it; `None` for all others.
///
/// # Errors
/// A refusal by the server of what the author wrote.
pub async fn read(
    context: &mut RunContext,
    params: &Params,
    facts: &Facts,
    table: &Quoted,
    age: Option<AgeType>,
) -> Result<Option<OwnRetention>, Stop> {
    let (name, interval) = match (&params.retention_column, &params.retention_query) {
        (Some(text), _) => ("retention_column", of_column(context, text, facts, table).await?),
        (None, Some(query)) => ("retention_query", of_query(context, query, facts, table).await?),
        (None, None) => return Ok(None),
    };
    if age == Some(AgeType::Uuid) {
        return Err(wrong(name, "needs an age that is a time or an integer, not a UUID".to_owned()));
    }
    let calendar = match params.cutoff {
        CutoffFrom::Now => "UTC",
        CutoffFrom::Midnight => params.zone(),
    };
    let grace = params.grace.as_ref().map_or("0", Retention::as_str).to_owned();
    Ok(Some(OwnRetention { interval, calendar: calendar.to_owned(), zone: params.zone().to_owned(), grace }))
}

async fn of_column(
    context: &mut RunContext,
    text: &str,
    facts: &Facts,
    table: &Quoted,
) -> Result<Quoted, Stop> {
    let names = target::names(context, facts.name(), &[text.to_owned()]).await?;
    let column = names.and_then(|names| names.columns.into_iter().flatten().next());
    let interval = column.unwrap_or_else(|| Quoted::expression(text));
    match target::expression(context, table, "retention_column", &interval.to_string()).await?.0 {
        Type::INTERVAL => Ok(interval),
        ty => Err(wrong("retention_column", format!("is of type {ty}, not interval"))),
    }
}

/// The longest of the retentions that the query knows for the row's key.
async fn of_query(
    context: &mut RunContext,
    query: &RetentionQuery,
    facts: &Facts,
    table: &Quoted,
) -> Result<Quoted, Stop> {
    let RetentionQuery { query, key } = query;
    let refused = |message: String| wrong("retention_query", message);
    // A statement by itself, its parentheses closed: so it is one within ours too.
    let statement = match context.describe(query).await {
        Ok(statement) => statement,
        Err(Stop::Failed(error)) if error.sqlstate().is_some() => return Err(refused(error.to_string())),
        Err(stop) => return Err(stop),
    };
    let types: Vec<&Type> = statement.columns().iter().map(tokio_postgres::Column::type_).collect();
    if !matches!(types[..], [_, &Type::INTERVAL]) || !statement.params().is_empty() {
        return Err(refused(
            "must give two columns, a key and an interval, and take no parameters".to_owned(),
        ));
    }
    let names = target::names(context, facts.name(), std::slice::from_ref(key)).await?;
    let Some(key) = names.and_then(|names| names.columns.into_iter().flatten().next()) else {
        return Err(refused(format!("{} has no column {key}", facts.name())));
    };
    let interval = Quoted::of_key(query, &key, table);
    target::expression(context, table, "retention_query", &interval.to_string()).await?;
    Ok(interval)
}
