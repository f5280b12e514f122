//! What the catalog says of the table, and what the server makes of the author's expressions.
//!
//! The table is known by the oid that the editor's search path gave it when the job was saved; names come back from the
//! server, quoted. What is easy to get wrong: `by` may be the bare name of a column, however odd, or an expression; the
//! bare name wins.

use tokio_postgres::{Row, types::Type};

use super::{
    age::AgeType,
    family::Family,
    hold, keep, own,
    params::{OnReferenced, Params},
    referenced,
    statement::{Age, Quoted, Scope},
};
use crate::{
    kind::{RunContext, Stop, inputs, sql::is_about_the_text},
    statements,
};

/// What the catalog says of a table.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(super) oid: u32,
    /// Schema-qualified and quoted.
    pub(super) name: String,
    /// It still has the name that it had when the job was saved.
    pub(super) same: bool,
    /// As `pg_class.relkind`.
    pub(super) kind: String,
    pub(super) ours: bool,
    pub(super) catalog: bool,
    /// Others inherit from it.
    pub(super) parent: bool,
    pub(super) may_select: bool,
    pub(super) may_delete: bool,
    /// The role may lock rows, for which PostgreSQL wants UPDATE on some column.
    pub(super) may_lock: bool,
    pub(super) row_security: bool,
    pub(super) role: String,
    /// As of the last ANALYZE; below 0 if there was none.
    pub(super) tuples: f64,
    pub(super) replica_identity: String,
    pub(super) identity_index: bool,
    pub(super) publication: Option<String>,
    column: Option<String>,
}

/// A foreign key that the server looks up for each deleted row.
#[derive(Debug)]
pub struct ForeignKey {
    pub(super) constraint: u32,
    pub(super) child: String,
    pub(super) name: String,
    pub(super) cascades: bool,
    pub(super) indexed: bool,
    /// The statement that makes the index.
    pub(super) remedy: String,
}

impl Facts {
    /// Reads those of the table that was found when the job was saved.
    pub async fn read(
        context: &mut RunContext,
        params: &Params,
        table: Option<(String, u32)>,
    ) -> Result<Self, Stop> {
        let table = match table {
            // Elsewhere, nobody looked it up.
            None if context.database().is_some() => find(context, &params.table).await?,
            table => table,
        };
        let Some((name, oid)) = table else {
            if let Some(database) = context.database() {
                let reason = format!("table {} is not in the database {database}", params.table);
                return Err(Stop::refused(
                    reason,
                    "create it there, or name its schema as well: schema.table",
                ));
            }
            let reason = format!("table {} was not found when the job was saved", params.table);
            return Err(Stop::refused(reason, "create it, then save the job again"));
        };
        let by = params.age().map(|(_, text)| text).unwrap_or_default();
        match Facts::of(context, &name, oid, by).await? {
            Some(facts) => Ok(facts),
            None => {
                let remedy = format!("delete the job, or {}", arm_again(context.job()));
                Err(Stop::refused(format!("table {name} is gone"), remedy))
            }
        }
    }

    /// Reads those of a table that had this name when it was looked up; `None` if it is gone. `by` is the age, as it was
    /// written.
    pub async fn of(context: &mut RunContext, name: &str, oid: u32, by: &str) -> Result<Option<Self>, Stop> {
        let rows = context.query(statements::PURGE_TARGET, &[&oid, &name, &by]).await?;
        Ok(rows.first().map(|row| Facts {
            oid,
            name: row.get("name"),
            same: row.get("same"),
            kind: row.get("kind"),
            ours: row.get("ours"),
            catalog: row.get("catalog"),
            parent: row.get("parent"),
            may_select: row.get("may_select"),
            may_delete: row.get("may_delete"),
            may_lock: row.get("may_lock"),
            row_security: row.get("row_security"),
            role: row.get("role"),
            tuples: row.get("tuples"),
            replica_identity: row.get("replica_identity"),
            identity_index: row.get("identity_index"),
            publication: row.get("publication"),
            column: row.get("column"),
        }))
    }

    /// The table's oid.
    pub fn oid(&self) -> u32 {
        self.oid
    }

    /// Its name, schema-qualified and quoted.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has partitions.
    pub fn partitioned(&self) -> bool {
        self.kind == "p"
    }
}

/// The foreign keys that reference the table, and those behind their cascades.
pub async fn foreign_keys(context: &mut RunContext, facts: &Facts) -> Result<Vec<ForeignKey>, Stop> {
    let rows = context.query(statements::PURGE_FOREIGN_KEYS, &[&facts.oid]).await?;
    Ok(rows.iter().map(foreign_key).collect())
}

/// The same, for the table and its children, each once.
pub async fn all_foreign_keys(
    context: &mut RunContext,
    facts: &Facts,
    family: &Family,
) -> Result<Vec<ForeignKey>, Stop> {
    let mut keys = foreign_keys(context, facts).await?;
    for node in family.tables() {
        for key in foreign_keys(context, &node.facts).await? {
            if !keys.iter().any(|known| known.constraint == key.constraint) {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

/// The quoted name and the oid that a table had when the job was saved, or has now if the job does not write to it; `None`
/// if there is none of that name.
pub async fn find(context: &mut RunContext, table: &str) -> Result<Option<(String, u32)>, Stop> {
    let run = context.run_id();
    // Those of another database were not looked up when the job was saved.
    let saved = match context.database() {
        Some(_) => Vec::new(),
        None => context.query(statements::PURGE_NAMED, &[&run, &table]).await?,
    };
    if let Some(row) = saved.first() {
        return Ok(Some((row.get("name"), row.get("oid"))));
    }
    let rows = match context.query(statements::PURGE_NAMES, &[&table, &Vec::<String>::new()]).await {
        Ok(rows) => rows,
        // What cannot be a name at all.
        Err(Stop::Failed(error)) if is_about_the_text(&error) => return Ok(None),
        Err(stop) => return Err(stop),
    };
    Ok(rows.first().map(|row| (row.get("name"), row.get("oid"))))
}

fn foreign_key(row: &Row) -> ForeignKey {
    let (child, columns): (String, String) = (row.get("child"), row.get("columns"));
    ForeignKey {
        remedy: format!("CREATE INDEX CONCURRENTLY ON {child} ({columns});"),
        constraint: row.get("constraint"),
        child,
        name: row.get("name"),
        cascades: row.get::<_, &str>("action") == "c",
        indexed: row.get("indexed"),
    }
}

/// A table and some of its columns, as the server quotes them.
pub struct Names {
    /// The table.
    pub table: Quoted,
    /// The columns, in the order asked for; `None` where there is none of that name.
    pub columns: Vec<Option<Quoted>>,
}

impl Names {
    /// The first name that is no column.
    pub fn missing<'a>(&self, asked: &'a [String]) -> Option<&'a str> {
        asked.iter().zip(&self.columns).find(|(_, column)| column.is_none()).map(|(name, _)| name.as_str())
    }
}

/// Looks names up; `None` if there is no such table.
pub async fn names(context: &mut RunContext, table: &str, columns: &[String]) -> Result<Option<Names>, Stop> {
    let rows = context.query(statements::PURGE_NAMES, &[&table, &columns]).await?;
    Ok(rows.first().map(|row| Names {
        table: Quoted::by_server(row.get("name")),
        columns: row
            .get::<_, Vec<Option<String>>>("columns")
            .into_iter()
            .map(|column| column.map(Quoted::by_server))
            .collect(),
    }))
}

/// What the purge means, by the server's judgment of what its author wrote.
pub async fn scope(
    context: &mut RunContext,
    params: &Params,
    facts: &Facts,
    family: &Family,
) -> Result<Scope, Stop> {
    let table = Quoted::by_server(facts.name.clone());
    let age = match params.age() {
        Some((name, text)) => Some(age(context, &table, params, facts, (name, text)).await?),
        None => None,
    };
    let predicate = match &params.predicate {
        Some(text) => inputs::cut(text).map_err(|message| wrong("where", message))?,
        None => Vec::new(),
    };
    let inputs = inputs::declared(context, "where", &predicate)?;
    if let Some(text) = &params.yield_when {
        let ty = judged(context, &Scope::ask_probes(text), "yield_when", text).await?.0;
        if ty != Type::BOOL {
            return Err(wrong("yield_when", format!("is of type {ty}, not boolean")));
        }
    }
    let reached = family.reached(context, facts).await?;
    let mut kept = hold::holds(context, facts, &table, &reached).await?;
    kept.holds.extend(family.holds.iter().cloned());
    kept.conditions.extend(hold::protection(context, params.protect.as_ref(), facts, &table).await?);
    kept.conditions.extend(family.keeps(&table));
    let keep_last = match &params.keep_last {
        Some(keep) => Some(keep::last(context, keep, facts).await?),
        None => None,
    };
    let unreferenced = match params.on_referenced {
        OnReferenced::Fail => Vec::new(),
        OnReferenced::Skip => referenced::unreferenced(context, facts, &table, family).await?,
    };
    let own = own::read(context, params, facts, &table, age.as_ref().map(|age| age.ty)).await?;
    let scope = Scope {
        table,
        partitioned: facts.partitioned(),
        age,
        predicate,
        inputs,
        own,
        unless: kept.conditions,
        unreferenced,
        keep_last,
        holds: kept.holds,
    };
    if !scope.predicate.is_empty() {
        let ty = expression(context, &scope.table, "where", &scope.predicate_text()).await?.0;
        if ty != Type::BOOL {
            return Err(wrong("where", format!("is of type {ty}, not boolean")));
        }
    }
    Ok(scope)
}

async fn age(
    context: &mut RunContext,
    table: &Quoted,
    params: &Params,
    facts: &Facts,
    (name, text): (&str, &str),
) -> Result<Age, Stop> {
    let named = facts.column.as_deref().unwrap_or(text);
    let (ty, column) = expression(context, table, name, named).await?;
    let age_type = AgeType::of(&ty, params.unit)
        .map_err(|(wrong, remedy)| Stop::refused(format!("params.{name}: \"{text}\" {wrong}"), remedy))?;
    let sql = match &facts.column {
        Some(column) => Quoted::by_server(column.clone()),
        None => Quoted::expression(text),
    };
    let column = column.filter(|(oid, _)| *oid == facts.oid).map(|(_, number)| number);
    Ok(Age { sql, ty: age_type, column })
}

/// Has the server judge an author's text: one expression over the table's columns. Its type, and the column that it
/// is, if it is one.
pub async fn expression(
    context: &mut RunContext,
    table: &Quoted,
    name: &str,
    text: &str,
) -> Result<(Type, Option<(u32, i16)>), Stop> {
    judged(context, &Scope::probes(table, text), name, text).await
}

/// Has the server judge an author's text by statements that it must be able to parse.
async fn judged(
    context: &mut RunContext,
    probes: &[String],
    name: &str,
    text: &str,
) -> Result<(Type, Option<(u32, i16)>), Stop> {
    let mut described = None;
    for probe in probes {
        let statement = match context.describe(probe).await {
            Ok(statement) => statement,
            Err(Stop::Failed(error)) if is_about_the_text(&error) => {
                return Err(wrong(name, format!("{error}, in: {}", text.trim())));
            }
            Err(stop) => return Err(stop),
        };
        described.get_or_insert(statement);
    }
    let columns = described.as_ref().map(|statement| statement.columns()).unwrap_or_default();
    let [column] = columns else { return Err(wrong(name, "is not one expression".to_owned())) };
    Ok((column.type_().clone(), column.table_oid().zip(column.column_id())))
}

/// What makes a job look its table up anew; saving it unchanged does not.
pub fn arm_again(job: &str) -> String {
    format!(
        "if the table that has the name now is the one that is meant, arm the job again: sexton arm {job}"
    )
}

/// A table that the job names besides its own is not there any more.
pub fn gone(param: &str, table: &str, job: &str) -> Stop {
    Stop::refused(
        format!("params.{param}: table {table} is gone"),
        format!("edit the job, or {}", arm_again(job)),
    )
}

/// A parameter that the server finds wrong.
pub fn wrong(name: &str, message: String) -> Stop {
    Stop::refused(format!("params.{name}: {message}"), "edit the job")
}
