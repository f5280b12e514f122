//! What the catalog says of the table, and what the server makes of the author's queries.
//!
//! What is easy to get wrong: the job lends the replica's rights to whoever edited it last; so it asks whether he or she
//! may make the changes.

use tokio_postgres::{Row, types::Type};

use super::{
    audit,
    judge::{free, judge},
    params::{Column, OnDangling, Params},
    place::{IdType, Place, Shape, Typed},
    statement::Target,
};
use crate::{
    kind::{
        RunContext, Stop,
        inputs::{self, Piece},
        sql::{Quoted, expression_type, is_about_the_text},
        target,
    },
    statements,
};

/// What is to be done to which table.
///
/// # Errors
/// [`Stop::Refused`] with what is in the way: the table, a column, a query, a right, a hold.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn read(context: &mut RunContext, params: &Params) -> Result<Target, Stop> {
    let names = column_names(params);
    let row = catalog(context, params, &names).await?;
    permit(&row, params)?;
    let table_name: String = row.get("name");
    let table = Quoted::by_server(table_name.clone());
    let mut found = columns(&row, params, &names)?.into_iter();
    let missing = || Stop::refused("params.columns: a column is missing", "edit the job");
    let mut places = Vec::new();
    for (index, column) in params.columns.iter().enumerate() {
        let of = found.next().ok_or_else(missing)?;
        places.push(place(context, params, index, column, of).await?);
    }
    let editor = match &params.editor {
        Some(_) => Some(found.next().ok_or_else(missing)?.typed.name),
        None => None,
    };
    let edited_at = match &params.edited_at {
        Some(_) => {
            let column = found.next().ok_or_else(missing)?.typed;
            let zoned = zoned("edited_at", &column.ty)?;
            Some((column.name, zoned, context.now()))
        }
        None => None,
    };
    let keys = keys(&row)?;
    let mut target = Target {
        key_names: row.get("key_names"),
        keys,
        places,
        predicate: pieces("where", params.predicate.as_deref())?.unwrap_or_default(),
        free: Vec::new(),
        editor,
        edited_at,
        owner: owner(context, &table, params, row.get("column")).await?,
        recipients: pieces("recipients", params.recipients.as_deref())?,
        log: match &params.audit {
            Some(audit) => Some(audit::find(context, audit).await?),
            None => None,
        },
        inputs: Default::default(),
        table,
        table_name,
    };
    take_inputs(context, &mut target)?;
    target.free = free(context, &target).await?;
    judge(context, &target).await?;
    Ok(target)
}

/// A column as the catalog has it.
struct Found {
    typed: Typed,
    /// The type of its elements, if it is an array.
    element: Option<String>,
    required: bool,
}

/// Those of `columns` in order, then `editor` and `edited_at`.
fn column_names(params: &Params) -> Vec<&str> {
    let columns = params.columns.iter().map(|column| column.name.as_str());
    columns.chain(params.editor.as_deref()).chain(params.edited_at.as_deref()).collect()
}

async fn catalog(context: &mut RunContext, params: &Params, names: &[&str]) -> Result<Row, Stop> {
    let (name, oid) = target::saved(context, &params.table)?;
    let run = context.run_id();
    let deletes = deleting(params).next().is_some();
    let kept = |name: &&&str| !deleting(params).any(|column| column.name == ***name);
    let set: Vec<&str> = names.iter().filter(kept).copied().collect();
    let owner = params.owner.as_deref().unwrap_or_default();
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&oid, &name, &run, &names, &set, &deletes, &owner];
    target::still_there(context.query(statements::REFERENCES_TARGET, &values).await?, &name)
}

/// The columns whose dangling references take their row with them.
fn deleting(params: &Params) -> impl Iterator<Item = &Column> {
    params.columns.iter().filter(|column| column.on_dangling == Some(OnDangling::Delete))
}

fn permit(row: &Row, params: &Params) -> Result<(), Stop> {
    let rights = if deleting(params).next().is_some() { "UPDATE, DELETE" } else { "UPDATE" };
    target::permit(row, target::Change { rights, columns: &column_names(params).join(", ") })?;
    if row.get("parent") {
        let name: &str = row.get("name");
        let reason = format!("params.table: other tables inherit from {name}");
        return Err(Stop::refused(reason, "give each of them a job"));
    }
    Ok(())
}

fn columns(row: &Row, params: &Params, names: &[&str]) -> Result<Vec<Found>, Stop> {
    let quoted: Vec<Option<String>> = row.get("columns");
    let types: Vec<Option<String>> = row.get("types");
    let elements: Vec<Option<String>> = row.get("elements");
    let required: Vec<bool> = row.get("required");
    let mut facts = quoted.into_iter().zip(types).zip(elements.into_iter().zip(required));
    let column = |(index, name): (usize, &&str)| {
        let Some(((Some(quoted), Some(ty)), (element, required))) = facts.next() else {
            let param = match () {
                () if index < params.columns.len() => format!("columns[{index}]"),
                () if params.editor.as_deref() == Some(*name) => "editor".to_owned(),
                () => "edited_at".to_owned(),
            };
            let table: &str = row.get("name");
            let reason = format!("params.{param}: {table} has no column \"{name}\"");
            return Err(Stop::refused(reason, "edit the job"));
        };
        Ok(Found { typed: Typed { name: Quoted::by_server(quoted), ty }, element, required })
    };
    names.iter().enumerate().map(column).collect()
}

fn keys(row: &Row) -> Result<Vec<Typed>, Stop> {
    let names: Option<Vec<String>> = row.get("keys");
    let types: Option<Vec<String>> = row.get("key_types");
    let (Some(names), Some(types)) = (names, types) else {
        let name: &str = row.get("name");
        let reason =
            format!("params.table: {name} has neither a primary key nor a unique index without NULLs");
        return Err(Stop::refused(reason, format!("ALTER TABLE {name} ADD PRIMARY KEY (…)")));
    };
    let typed = |(name, ty)| Typed { name: Quoted::by_server(name), ty };
    Ok(names.into_iter().zip(types).map(typed).collect())
}

async fn place(
    context: &mut RunContext,
    params: &Params,
    index: usize,
    column: &Column,
    found: Found,
) -> Result<Place, Stop> {
    let at = |field: &str| format!("columns[{index}].{field}");
    let valid = source(context, "valid", params.valid_for(column)).await?;
    let expired = source(context, "expired", params.expired_for(column)).await?;
    let wrong = |field: &str, message: String| {
        Err(Stop::refused(format!("params.{}: {message}", at(field)), "edit the job"))
    };
    let ty = found.typed.ty.as_str();
    let name = column.name.as_str();
    let shape = match (ty, &column.path, &found.element) {
        ("jsonb", Some(path), _) => {
            let source = valid.as_ref().or(expired.as_ref()).map(|(_, ty)| ty.clone()).unwrap_or(Type::TEXT);
            Shape::Json(path.clone(), id_type(&source)?)
        }
        ("jsonb", None, _) => {
            return wrong("path", format!("is missing: {name} is jsonb; \"$[*]\" is the list itself"));
        }
        (_, Some(_), _) => return wrong("path", format!("{name} is of type {ty}, and not jsonb")),
        (_, None, Some(_)) if column.on_dangling.is_some() => {
            return wrong("on_dangling", format!("{name} is a list: what dangles is removed from it"));
        }
        (_, None, Some(_)) => Shape::Array,
        (_, None, None) => {
            let on_dangling = column.on_dangling.unwrap_or_default();
            if on_dangling == OnDangling::Null && found.required {
                return wrong("on_dangling", format!("{name} cannot be NULL; \"delete\" deletes the row"));
            }
            Shape::One(on_dangling)
        }
    };
    Ok(Place {
        called: name.to_owned(),
        column: found.typed,
        shape,
        valid: valid.map(|(pieces, _)| pieces),
        expired: expired.map(|(pieces, _)| pieces),
    })
}

fn id_type(ty: &Type) -> Result<IdType, Stop> {
    match *ty {
        Type::INT2 | Type::INT4 | Type::INT8 => Ok(IdType::Integer),
        Type::UUID => Ok(IdType::Uuid),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Ok(IdType::Text),
        _ => Err(Stop::refused(
            format!("params.valid or params.expired: ids of type {ty} cannot be compared with jsonb"),
            "cast them to bigint, uuid or text",
        )),
    }
}

fn pieces(param: &str, text: Option<&str>) -> Result<Option<Vec<Piece>>, Stop> {
    text.map(inputs::cut)
        .transpose()
        .map_err(|message| Stop::refused(format!("params.{param}: {message}"), "edit the job"))
}

/// An author's query, and the type of its one column. It is judged alone first: in its place within a statement, a name
/// that it does not know could mean one of ours.
async fn source(
    context: &mut RunContext,
    param: &str,
    text: Option<&str>,
) -> Result<Option<(Vec<Piece>, Type)>, Stop> {
    let Some(pieces) = pieces(param, text)? else { return Ok(None) };
    let inputs = inputs::declared(context, param, &pieces)?;
    let alone = crate::kind::sql::Sql::default().pieces(&pieces, &inputs).text;
    let ty = query_type(context, param, &alone).await?;
    Ok(Some((pieces, ty)))
}

/// Has the server judge a query of one column.
async fn query_type(context: &mut RunContext, param: &str, text: &str) -> Result<Type, Stop> {
    let wrong = |message: String| {
        Stop::refused(format!("params.{param}: {message}, in: {}", text.trim()), "edit the job")
    };
    for probe in [format!("SELECT sexton_q.* FROM ({text}\n) AS sexton_q"), text.to_owned()] {
        match context.describe(&probe).await {
            Err(Stop::Failed(error)) if is_about_the_text(&error) => return Err(wrong(error.to_string())),
            Err(stop) => return Err(stop),
            Ok(statement) => match statement.columns() {
                [_] if probe != text => {}
                [column] => return Ok(column.type_().clone()),
                columns => return Err(wrong(format!("gives {} columns, and not one", columns.len()))),
            },
        }
    }
    Err(wrong("is no query".to_owned()))
}

async fn owner(
    context: &mut RunContext,
    table: &Quoted,
    params: &Params,
    column: Option<String>,
) -> Result<Option<Typed>, Stop> {
    let Some(text) = &params.owner else { return Ok(None) };
    let name = column.map_or_else(|| Quoted::expression(text), Quoted::by_server);
    let ty = expression_type(context, table, "owner", name.as_str()).await?;
    let rows = context.query(statements::TYPE_NAME, &[&ty.oid()]).await?;
    let ty = rows.first().map(|row| row.get(0)).unwrap_or_else(|| "text".to_owned());
    Ok(Some(Typed { name, ty }))
}

/// The values of all declared inputs that the texts name.
fn take_inputs(context: &RunContext, target: &mut Target) -> Result<(), Stop> {
    let mut texts: Vec<(&str, Vec<Piece>)> = vec![("where", target.predicate.clone())];
    for place in &target.places {
        texts.extend(place.valid.clone().map(|pieces| ("valid", pieces)));
        texts.extend(place.expired.clone().map(|pieces| ("expired", pieces)));
    }
    let recipients = target.recipients.iter().flatten().filter(|piece| piece.input() != Some("owner"));
    texts.push(("recipients", recipients.cloned().collect()));
    for (param, pieces) in texts {
        target.inputs.extend(inputs::declared(context, param, &pieces)?);
    }
    Ok(())
}

fn zoned(param: &str, ty: &str) -> Result<bool, Stop> {
    match ty {
        "timestamp with time zone" => Ok(true),
        "timestamp without time zone" => Ok(false),
        other => Err(Stop::refused(
            format!("params.{param}: is of type {other}"),
            "name one of type timestamptz or timestamp",
        )),
    }
}
