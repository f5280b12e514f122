//! What the catalog says of the table, and what the server makes of the author's values and expressions.
//!
//! What is easy to get wrong: a reset lends the runner's rights to whoever edited the job; so it asks whether he or she
//! may make the update.

use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};

use super::{
    params::Params,
    stuck::{Clock, Column, Stuck},
};
use crate::{
    kind::{
        RunContext, Stop,
        inputs::{self, Piece},
        sql::{Quoted, Sql, expression_type, is_about_the_text},
        target,
    },
    statements,
};

/// Which rows the reset means.
///
/// # Errors
/// [`Stop::Refused`] with what is in the way: the table, a column, a value, a right.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn stuck(context: &mut RunContext, params: &Params, cutoff: Timestamp) -> Result<Stuck, Stop> {
    let names = column_names(params);
    let row = read(context, params, &names).await?;
    let mut columns = columns(&row, params, &names)?.into_iter();
    target::permit(&row, target::Change { rights: "UPDATE", columns: &names.join(", ") })?;
    let missing = || Stop::refused("params: a column is missing", "edit the job");
    let state = columns.next().ok_or_else(missing)?;
    let set = params.set.values().map(|value| value.as_ref().map(|value| value.as_str().to_owned()));
    let set: Vec<_> = columns.by_ref().zip(set).collect();
    let touch = match columns.next() {
        Some(column) => Some((column.name, clock_of("touch", &column.ty)?, context.now())),
        None => None,
    };
    let table = Quoted::by_server(row.get("name"));
    let since = since(context, &table, params, row.get("column")).await?;
    let predicate = predicate(params)?;
    let inputs = inputs::declared(context, "where", &predicate)?;
    let stuck = Stuck {
        partitioned: row.get::<_, &str>("kind") == "p",
        from: params.from.iter().map(|value| value.as_str().to_owned()).collect(),
        to: params.to.as_str().to_owned(),
        table,
        state,
        since,
        cutoff,
        predicate,
        inputs,
        set,
        touch,
    };
    judge(context, &stuck).await?;
    Ok(stuck)
}

fn predicate(params: &Params) -> Result<Vec<Piece>, Stop> {
    let Some(text) = &params.predicate else { return Ok(Vec::new()) };
    inputs::cut(text).map_err(|message| Stop::refused(format!("params.where: {message}"), "edit the job"))
}

/// The state's, those of `set` in order, that of `touch`.
fn column_names(params: &Params) -> Vec<&str> {
    let set = params.set.keys().map(String::as_str);
    std::iter::once(params.column.as_str()).chain(set).chain(params.touch.as_deref()).collect()
}

async fn read(context: &mut RunContext, params: &Params, names: &[&str]) -> Result<Row, Stop> {
    let (name, oid) = target::saved(context, &params.table)?;
    let run = context.run_id();
    let rows = context.query(statements::RESET_TARGET, &[&oid, &name, &run, &names, &params.since]).await?;
    target::still_there(rows, &name)
}

fn columns(row: &Row, params: &Params, names: &[&str]) -> Result<Vec<Column>, Stop> {
    let quoted: Vec<Option<String>> = row.get("columns");
    let types: Vec<Option<String>> = row.get("types");
    let column = |((name, quoted), ty): ((&&str, Option<String>), Option<String>)| {
        let (Some(quoted), Some(ty)) = (quoted, ty) else {
            let param = match () {
                () if **name == params.column => "column".to_owned(),
                () if params.touch.as_deref() == Some(*name) => "touch".to_owned(),
                () => format!("set.{name}"),
            };
            let table: &str = row.get("name");
            return Err(Stop::refused(
                format!("params.{param}: {table} has no column \"{name}\""),
                "edit the job",
            ));
        };
        Ok(Column { name: Quoted::by_server(quoted), ty })
    };
    names.iter().zip(quoted).zip(types).map(column).collect()
}

async fn since(
    context: &mut RunContext,
    table: &Quoted,
    params: &Params,
    column: Option<String>,
) -> Result<(Quoted, Clock), Stop> {
    let text = column.as_deref().unwrap_or(&params.since);
    let ty = expression_type(context, table, "since", text).await?;
    let clock = clock_of(
        "since",
        match ty {
            Type::TIMESTAMPTZ => "timestamp with time zone",
            Type::TIMESTAMP => "timestamp without time zone",
            ref other => other.name(),
        },
    )?;
    Ok((column.map_or_else(|| Quoted::expression(&params.since), Quoted::by_server), clock))
}

fn clock_of(param: &str, ty: &str) -> Result<Clock, Stop> {
    match ty {
        "timestamp with time zone" => Ok(Clock::Zoned),
        "timestamp without time zone" => Ok(Clock::Utc),
        other => Err(Stop::refused(
            format!("params.{param}: is of type {other}"),
            "name one of type timestamptz or timestamp",
        )),
    }
}

/// Has the server judge the predicate and the values.
async fn judge(context: &mut RunContext, stuck: &Stuck) -> Result<(), Stop> {
    if !stuck.predicate.is_empty() {
        let text = Sql::default().pieces(&stuck.predicate, &stuck.inputs).text;
        let ty = expression_type(context, &stuck.table, "where", &text).await?;
        if ty != Type::BOOL {
            return Err(Stop::refused(format!("params.where: is of type {ty}, not boolean"), "edit the job"));
        }
    }
    let probe = stuck.probe();
    match context.query(&probe.text, &probe.values).await {
        Err(Stop::Failed(error)) if is_about_the_text(&error) => {
            let column = stuck.state.name.as_str();
            let reason = format!(
                "params.from, params.to or params.set: {error}; {column} is of type {}",
                stuck.state.ty
            );
            Err(Stop::refused(reason, "edit the job"))
        }
        answer => answer.map(drop),
    }
}
