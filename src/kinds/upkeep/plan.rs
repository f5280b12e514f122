//! What an upkeep has to do, in order: debris, indexes that are to be there, tables, indexes, materialized views.
//!
//! What is easy to get wrong: a name that a person wrote must exist and be his or hers, or the run is refused; what was
//! found by looking through the database is passed over silently where it belongs to others.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::{
    params::{Action, NewIndex, Params},
    step::Step,
};
use crate::{
    kind::{RunContext, Stop, interval::Retention, sql::Quoted, vacuum::Cleaning},
    statements,
};

/// A table that may be looked after.
struct Table {
    oid: u32,
    name: String,
    partitioned: bool,
    dead: i64,
    live: i64,
    /// The last VACUUM is longer ago than `vacuumed_before`, or there was none.
    late: bool,
}

/// The steps, in their order.
///
/// # Errors
/// [`Stop::Refused`] for a name that does not exist, or belongs to another role.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn steps(context: &mut RunContext, params: &Params) -> Result<Vec<Step>, Stop> {
    let tables = if params.actions().is_empty() { Vec::new() } else { tables(context, params).await? };
    let mut steps = Vec::new();
    let mut oids: BTreeSet<u32> = tables.iter().map(|table| table.oid).collect();
    let mut builds = Vec::new();
    for index in &params.create_indexes {
        let (table, build) = create_index(context, index).await?;
        oids.insert(table);
        builds.extend(build);
    }
    let oids: Vec<u32> = oids.into_iter().collect();
    for row in context.query(statements::UPKEEP_DEBRIS, &[&oids]).await? {
        if !row.get::<_, bool>("busy") {
            steps.push(Step::DropDebris { index: row.get("name"), table: row.get("table_oid") });
        }
    }
    steps.extend(builds);
    steps.extend(tables.iter().filter_map(|table| clean(table, params)));
    if params.actions().contains(&Action::Reindex) {
        steps.extend(reindex(context, params, &oids).await?);
    }
    for view in &params.refresh {
        steps.push(refresh(context, view).await?);
    }
    Ok(steps)
}

async fn tables(context: &mut RunContext, params: &Params) -> Result<Vec<Table>, Stop> {
    let (now, run) = (context.now(), context.run_id());
    let before = params.vacuumed_before.as_ref().map(Retention::as_str);
    let rows = context.query(statements::UPKEEP_TABLES, &[&params.tables, &now, &run, &before]).await?;
    let mut tables = Vec::new();
    for row in &rows {
        let asked: Option<&str> = row.get("asked");
        let Some(oid) = row.get::<_, Option<u32>>("oid") else {
            return Err(missing("tables", asked.unwrap_or_default(), "table"));
        };
        let (name, kind): (String, &str) = (row.get("name"), row.get("kind"));
        if asked.is_some() && !matches!(kind, "r" | "m" | "p") {
            return Err(Stop::refused(format!("params.tables: {name} is no table"), "name a table"));
        }
        match (asked, row.get::<_, bool>("may")) {
            (_, true) => {}
            (Some(_), false) => return Err(not_ours("tables", &name, row)),
            (None, false) => continue,
        }
        tables.push(Table {
            oid,
            name,
            partitioned: kind == "p",
            dead: row.get("dead"),
            live: row.get("live"),
            late: row.get("late"),
        });
    }
    Ok(tables)
}

/// What is to be done with a table, if anything. A partitioned table has no rows of its own: only its statistics, which no
/// autovacuum makes, are.
fn clean(table: &Table, params: &Params) -> Option<Step> {
    let [vacuum, analyze] =
        [Action::Vacuum, Action::Analyze].map(|action| params.actions().contains(&action));
    let cleaning = match (vacuum && !table.partitioned, analyze) {
        (true, true) => Cleaning::VacuumAnalyze,
        (true, false) => Cleaning::Vacuum,
        (false, true) => Cleaning::Analyze,
        (false, false) => return None,
    };
    needs_it(table, params).then(|| Step::Clean { table: table.name.clone(), oid: table.oid, cleaning })
}

fn needs_it(table: &Table, params: &Params) -> bool {
    let Some(thresholds) = params.thresholds() else { return true };
    let all = (table.dead + table.live).max(1);
    let fraction = table.dead as f64 / all as f64;
    let is_dirty = table.dead >= thresholds.dead_rows && fraction >= thresholds.dead_fraction;
    is_dirty || table.late
}

async fn reindex(context: &mut RunContext, params: &Params, oids: &[u32]) -> Result<Vec<Step>, Stop> {
    let least = params.bloat_fraction();
    let rows = context.query(statements::UPKEEP_INDEXES, &[&oids]).await?;
    let is_bloated = |row: &Row| {
        let (bloat, bytes): (Option<f64>, i64) = (row.get("bloat"), row.get("bytes"));
        least.is_none_or(|least| bloat.is_some_and(|bloat| bloat >= least) && bytes >= params.index_bytes)
    };
    let step = |row: &Row| Step::Reindex { index: row.get("name"), table: row.get("table_oid") };
    Ok(rows.iter().filter(|row| is_bloated(row)).map(step).collect())
}

/// The table of an index that is to be there, and what makes it, if it is not.
async fn create_index(context: &mut RunContext, wanted: &NewIndex) -> Result<(u32, Vec<Step>), Stop> {
    let run = context.run_id();
    let rows = context.query(statements::UPKEEP_INDEX, &[&wanted.table, &wanted.name, &run]).await?;
    let found = rows.first().and_then(|row| Some((row, row.get::<_, Option<u32>>("table_oid")?)));
    let Some((row, table)) = found else { return Err(missing("create_indexes", &wanted.table, "table")) };
    let table_name: &str = row.get("table_name");
    let refused = |what: String, remedy| Err(Stop::refused(format!("params.create_indexes: {what}"), remedy));
    if !row.get::<_, bool>("may") {
        return Err(not_ours("create_indexes", table_name, row));
    }
    if row.get::<_, &str>("kind") == "p" {
        let remedy = "name its partitions, then CREATE INDEX on the table, which attaches theirs";
        return refused(
            format!("{table_name} is partitioned, which CONCURRENTLY cannot index at once"),
            remedy,
        );
    }
    match row.get("state") {
        "none" => Ok((table, vec![build(row, table, wanted)])),
        // Somebody may be building it right now.
        "invalid" if row.get("busy") => Ok((table, Vec::new())),
        "invalid" => {
            let drop = Step::DropDebris { index: row.get("name"), table };
            Ok((table, vec![drop, build(row, table, wanted)]))
        }
        "other" => {
            let name = Quoted::name(&wanted.name);
            refused(format!("{} is the name of something else", name.as_str()), "give the index another name")
        }
        _ => Ok((table, Vec::new())),
    }
}

fn build(row: &Row, table: u32, wanted: &NewIndex) -> Step {
    let unique = if wanted.unique { "UNIQUE " } else { "" };
    let (bare, table_name): (&str, &str) = (row.get("bare_name"), row.get("table_name"));
    let sql = format!("CREATE {unique}INDEX CONCURRENTLY {bare} ON {table_name} {}", wanted.on);
    Step::CreateIndex { index: row.get("name"), sql, table }
}

async fn refresh(context: &mut RunContext, view: &str) -> Result<Step, Stop> {
    let run = context.run_id();
    let rows = context.query(statements::UPKEEP_MATVIEW, &[&view, &run]).await?;
    let found = rows.first().filter(|row| row.get::<_, Option<u32>>("oid").is_some());
    let Some(row) = found else { return Err(missing("refresh", view, "materialized view")) };
    let name: String = row.get("name");
    let refused =
        |what: &str, remedy: String| Err(Stop::refused(format!("params.refresh: {name} {what}"), remedy));
    if row.get::<_, &str>("kind") != "m" {
        return refused("is no materialized view", "name one".to_owned());
    }
    if !row.get::<_, bool>("may") {
        return Err(not_ours("refresh", &name, row));
    }
    if !row.get::<_, bool>("populated") {
        return refused(
            "was never filled, which CONCURRENTLY needs",
            format!("REFRESH MATERIALIZED VIEW {name};"),
        );
    }
    if !row.get::<_, bool>("unique_index") {
        let remedy = format!("CREATE UNIQUE INDEX ON {name} (…);");
        return refused("has no unique index over all its rows, which CONCURRENTLY needs", remedy);
    }
    Ok(Step::Refresh { view: name })
}

fn missing(param: &str, name: &str, what: &str) -> Stop {
    let remedy = "create it, or name its schema as well: schema.name";
    Stop::refused(format!("params.{param}: there is no {what} \"{name}\""), remedy)
}

fn not_ours(param: &str, name: &str, row: &Row) -> Stop {
    let (owner, role): (&str, &str) = (row.get("owner"), row.get("role"));
    let reason = format!("params.{param}: {name} belongs to {owner}, whom {role} may not act for");
    let [owner, role] = [owner, role].map(Quoted::name);
    Stop::refused(reason, format!("GRANT {} TO {};", owner.as_str(), role.as_str()))
}
