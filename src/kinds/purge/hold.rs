//! What must stay: legal holds, and what the job itself protects.
//!
//! Both become conditions of every statement that deletes or counts. A hold that is set while a run deletes ends the run
//! at the fence (`held`), and the next one begins by reading the holds anew; so they are read once a run. What is easy
//! to get wrong: a row is held where the predicate is true, so NULL holds nothing; and a row that a foreign key would
//! take along may be held too, which no condition on this table can tell: that is refused.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::{Row, types::Type};

use super::{
    statement::{Quoted, Scope},
    target::{self, Facts, wrong},
};
use crate::{
    kind::{ParamError, RunContext, Stop, check},
    statements,
};

/// Rows that a job protects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a predicate, or { table = \"…\", keys = [\"…\"] }")]
pub enum Protect {
    /// Those for which this is true.
    Where(String),
    /// Those whose keys another table has.
    Listed(Listed),
}

/// Names the table that lists what is protected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The table.
    pub table: String,
    /// Columns that both tables have.
    pub keys: Vec<String>,
}

impl Protect {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, path: &str) -> Result<(), ParamError> {
        match self {
            Protect::Where(predicate) => check::sql(path, predicate),
            Protect::Listed(listed) if listed.table.trim().is_empty() => {
                Err(ParamError::new(path, "names no table"))
            }
            Protect::Listed(listed) if listed.keys.is_empty() => {
                Err(ParamError::new(path, "names no keys: the columns that both tables have"))
            }
            Protect::Listed(listed) => check::names(&format!("{path}.keys"), &listed.keys),
        }
    }
}

/// The holds that are in force, and the conditions that they and the job's own protection make.
#[derive(Debug, Default)]
pub struct Kept {
    /// The conditions, each true for rows that may go.
    pub conditions: Vec<Quoted>,
    /// The holds, as the report shows them.
    pub holds: Vec<Value>,
}

/// Which tables' rows a foreign key would change that the purge does not look after itself.
#[derive(Debug)]
pub enum Reached {
    /// Any that the database says.
    Any,
    /// These alone.
    These(HashSet<u32>),
}

/// Reads the holds on a table, and has the server judge them.
///
/// # Errors
/// A refusal if a hold cannot be kept by a condition.
pub async fn holds(
    context: &mut RunContext,
    facts: &Facts,
    table: &Quoted,
    reached: &Reached,
) -> Result<Kept, Stop> {
    let mut kept = Kept::default();
    for hold in Hold::read(context, facts).await? {
        if hold.reach == "cascade" && matches!(reached, Reached::These(oids) if !oids.contains(&hold.oid)) {
            // By a child that the job names: its own holds are read there.
            continue;
        }
        kept.conditions.push(hold.condition(context, facts, table).await?);
        kept.holds.push(
            json!({"id": hold.id, "table": hold.table, "where": hold.predicate, "reason": hold.reason}),
        );
    }
    Ok(kept)
}

/// Has the server judge what a job protects of a table: conditions that are true for rows that may go.
///
/// # Errors
/// A refusal of what is no condition.
pub async fn protection(
    context: &mut RunContext,
    protect: Option<&Protect>,
    facts: &Facts,
    table: &Quoted,
) -> Result<Vec<Quoted>, Stop> {
    Ok(match protect {
        Some(Protect::Where(text)) => {
            let ty = target::expression(context, table, "protect", text).await?.0;
            if ty != Type::BOOL {
                return Err(wrong("protect", format!("is of type {ty}, not boolean")));
            }
            vec![Scope::unless(&Quoted::expression(text))]
        }
        Some(Protect::Listed(listed)) => vec![unlisted(context, listed, facts, table).await?],
        None => Vec::new(),
    })
}

struct Hold {
    id: i64,
    oid: u32,
    reach: String,
    table: String,
    predicate: String,
    reason: String,
}

impl From<&Row> for Hold {
    fn from(row: &Row) -> Self {
        Hold {
            id: row.get("id"),
            oid: row.get("held_oid"),
            reach: row.get("reach"),
            table: row.get("table_name"),
            predicate: row.get("predicate"),
            reason: row.get("reason"),
        }
    }
}

impl Hold {
    /// Those that concern a table.
    async fn read(context: &mut RunContext, facts: &Facts) -> Result<Vec<Hold>, Stop> {
        let Some(database) = context.database().map(str::to_owned) else {
            let rows = context.query(statements::PURGE_HOLDS, &[&facts.oid()]).await?;
            return Ok(rows.iter().map(Hold::from).collect());
        };
        // What is held stands at home, what a DELETE concerns only there; names bring the two together.
        let held = context.query_home(statements::HOLDS_ELSEWHERE, &[&database]).await?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let reached = context.query(statements::PURGE_REACHED, &[&facts.oid()]).await?;
        let concerned = |hold: &Row| {
            let (id, table) = (hold.get("id"), hold.get::<_, String>("table_name"));
            let (predicate, reason): (String, String) = (hold.get("predicate"), hold.get("reason"));
            let there = reached.iter().filter(move |row| row.get::<_, &str>("name") == table);
            let there: Vec<Hold> = there
                .map(|row| Hold {
                    id,
                    oid: row.get("oid"),
                    reach: row.get("reach"),
                    table: row.get("name"),
                    predicate: predicate.clone(),
                    reason: reason.clone(),
                })
                .collect();
            there
        };
        Ok(held.iter().flat_map(concerned).collect())
    }

    /// True for rows that the hold lets go.
    async fn condition(
        &self,
        context: &mut RunContext,
        facts: &Facts,
        table: &Quoted,
    ) -> Result<Quoted, Stop> {
        let Hold { id, table: held, .. } = self;
        if self.reach == "cascade" {
            let reason = format!(
                "hold {id} is on {held}, whose rows foreign keys would delete or change along with those of {}",
                facts.name()
            );
            let remedy =
                format!("narrow this purge by protect and lift the hold: SELECT sexton.unhold({id});");
            return Err(Stop::refused(reason, remedy));
        }
        match target::expression(context, table, "hold", &self.predicate).await {
            Ok((Type::BOOL, _)) => {}
            Ok(_) | Err(Stop::Refused { .. }) => {
                let reason =
                    format!("hold {id} on {held} cannot be kept: {} is no predicate here", self.predicate);
                let remedy = format!("set one that is, then lift this one: SELECT sexton.unhold({id});");
                return Err(Stop::refused(reason, remedy));
            }
            Err(stop) => return Err(stop),
        }
        let rows = Quoted::expression(&self.predicate);
        Ok(match self.reach.as_str() {
            "partition" => Scope::unless_in_partition(self.oid, &rows),
            _ => Scope::unless(&rows),
        })
    }
}

/// True for rows whose keys the other table does not have.
async fn unlisted(
    context: &mut RunContext,
    listed: &Listed,
    facts: &Facts,
    table: &Quoted,
) -> Result<Quoted, Stop> {
    let there = target::names(context, &listed.table, &listed.keys).await?;
    let here = target::names(context, facts.name(), &listed.keys).await?;
    let (Some(there), Some(here)) = (there, here) else {
        return Err(wrong("protect", format!("there is no table {}", listed.table)));
    };
    for (names, of) in [(&there, listed.table.as_str()), (&here, facts.name())] {
        if let Some(missing) = names.missing(&listed.keys) {
            return Err(wrong("protect", format!("{of} has no column {missing}")));
        }
    }
    let pairs = there.columns.iter().flatten().zip(here.columns.iter().flatten());
    Ok(Scope::unless_listed(table, &there.table, pairs, ""))
}
