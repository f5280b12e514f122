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
    permit(&row, params)?;
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
    let Some((name, oid)) = context.target().map(|(name, oid)| (name.to_owned(), oid)) else {
        let reason = format!("params.table: {} was not found when the job was saved", params.table);
        return Err(Stop::refused(reason, "create it, then save the job again"));
    };
    let run = context.run_id();
    let rows = context.query(statements::RESET_TARGET, &[&oid, &name, &run, &names, &params.since]).await?;
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

fn permit(row: &Row, params: &Params) -> Result<(), Stop> {
    let name: &str = row.get("name");
    let refused = |reason: String, remedy: String| Err(Stop::refused(reason, remedy));
    if !matches!(row.get("kind"), "r" | "p") {
        return refused(format!("params.table: {name} is no table"), "name a table".to_owned());
    }
    if row.get("protected") {
        return refused(format!("params.table: {name} is not the application's"), "name another".to_owned());
    }
    permit_roles(row, name, &column_names(params).join(", "))
}

/// Whether the replica's role and the job's last editor may read and update.
fn permit_roles(row: &Row, name: &str, columns: &str) -> Result<(), Stop> {
    let refused = |reason: String, remedy: String| Err(Stop::refused(reason, remedy));
    let role: &str = row.get("role");
    if row.get("row_security") {
        let reason = format!("row security hides rows of {name} from role {role}");
        return refused(reason, format!("ALTER ROLE {role} BYPASSRLS, or give it a policy as the owner"));
    }
    if !row.get::<_, bool>("may") {
        let reason = format!("role {role} may not read {name} and update {columns}");
        return refused(reason, format!("GRANT SELECT, UPDATE ON {name} TO {role};"));
    }
    if !row.get::<_, bool>("editor_may") {
        let editor: &str = row.get("editor");
        let reason = format!("{editor}, who edited the job last, may not update {columns} of {name}");
        return refused(
            reason,
            format!("GRANT UPDATE ON {name} TO {editor}, or let somebody else save the job"),
        );
    }
    Ok(())
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
