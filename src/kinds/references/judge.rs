//! What the server makes of the statements as a whole, and of the holds in force.
//!
//! Holds are conditions here as they are in a purge: a row that is held stays as it is. What is easy to get wrong: types
//! that cannot be compared are found only by parsing the finished statement, and must be before the first batch.

use tokio_postgres::types::Type;

use super::statement::{Rows, Target, Wait};
use crate::{
    kind::{
        RunContext, Stop,
        sql::{Quoted, Sql, expression_type, is_about_the_text},
    },
    statements,
};

/// The conditions of the holds in force: each true for rows that may be changed.
pub async fn free(context: &mut RunContext, target: &Target) -> Result<Vec<Quoted>, Stop> {
    let Some(oid) = context.target().map(|(_, oid)| oid) else { return Ok(Vec::new()) };
    let mut free = Vec::new();
    for row in context.query(statements::PURGE_HOLDS, &[&oid]).await? {
        let (id, held): (i64, String) = (row.get("id"), row.get("table_name"));
        let (reach, predicate): (String, String) = (row.get("reach"), row.get("predicate"));
        if reach == "cascade" {
            if !target.deletes() {
                continue;
            }
            let reason =
                format!("hold {id} is on {held}, whose rows foreign keys would delete or change along");
            return Err(Stop::refused(
                reason,
                format!("wait until it is lifted: SELECT sexton.unhold({id});"),
            ));
        }
        match expression_type(context, &target.table, "hold", &predicate).await {
            Ok(Type::BOOL) => {}
            Ok(_) | Err(Stop::Refused { .. }) => {
                let reason = format!("hold {id} on {held} cannot be kept: {predicate} is no predicate here");
                let remedy = format!("set one that is, then lift this one: SELECT sexton.unhold({id});");
                return Err(Stop::refused(reason, remedy));
            }
            Err(stop) => return Err(stop),
        }
        let part = match reach.as_str() {
            "partition" => format!("tableoid <> {} OR ", row.get::<_, u32>("held_oid")),
            _ => String::new(),
        };
        free.push(Quoted::expression(&format!("{part}({predicate}\n) IS NOT TRUE")));
    }
    Ok(free)
}

/// Has the server judge the predicate, and the statements as a whole: types that cannot be compared are found here.
pub async fn judge(context: &mut RunContext, target: &Target) -> Result<(), Stop> {
    if !target.predicate.is_empty() {
        let text = Sql::default().pieces(&target.predicate, &target.inputs).text;
        let ty = expression_type(context, &target.table, "where", &text).await?;
        if ty != Type::BOOL {
            return Err(Stop::refused(format!("params.where: is of type {ty}, not boolean"), "edit the job"));
        }
    }
    let (run, most) = (context.run_id(), 0_i64);
    let everything = Rows::Range(None, None);
    let types = || {
        let columns =
            target.places.iter().map(|place| format!("{} is of type {}", place.called, place.column.ty));
        columns.collect::<Vec<_>>().join(", ")
    };
    let probes = [
        ("columns, valid or expired", target.lock(everything, &most, Wait::Briefly).text),
        ("columns, valid, expired, editor, owner or audit", target.apply(everything, &run).text),
    ];
    for (param, probe) in probes {
        describe(context, &probe, |error| format!("params.{param}: {error}; {}", types())).await?;
    }
    if target.owner.is_some() {
        let probe = target.notices(&run, &most).text;
        describe(context, &probe, |error| format!("params.recipients: {error}")).await?;
    }
    Ok(())
}

async fn describe(
    context: &mut RunContext,
    probe: &str,
    reason: impl FnOnce(String) -> String,
) -> Result<(), Stop> {
    match context.describe(probe).await {
        Err(Stop::Failed(error)) if is_about_the_text(&error) => {
            Err(Stop::refused(reason(error.to_string()), "edit the job; a cast in the query may do"))
        }
        answer => answer.map(drop),
    }
}
