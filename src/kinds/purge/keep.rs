//! The newest rows stay: `n` of each key (`keep_last`), or `n` of the table (`keep_min`).
//!
//! Of a key the rows are counted that are newer than this one, in a total order of age and primary key, so that among
//! equal ages exactly `n` stay; the count ends at `n`. Deleting the older ones changes nothing of that, so the answer is
//! the same in every batch. What is easy to get wrong: in the subquery, what the author wrote must mean the inner row
//! once (the predicate) and the outer row once (the age); hence the inner query gives its columns names of its own.

use serde::Deserialize;

use super::{
    cursor::Cutoff,
    kept::Newest,
    moment::Moment,
    statement::{Quoted, Scope},
    target::{self, Facts, wrong},
};
use crate::{
    kind::{ParamError, RunContext, Stop, check},
    statements,
};

/// So many of the newest rows of each key stay.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepLast {
    /// How many.
    pub rows: u32,
    /// The columns of the key.
    pub per: Vec<String>,
}

impl KeepLast {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ParamError> {
        let message = match (self.rows, self.per.is_empty()) {
            (0, _) => "rows must be at least 1; leave keep_last out if none need stay",
            (_, true) => "per names no column; of the whole table, keep_min keeps the newest rows",
            _ => return check::names("keep_last.per", &self.per),
        };
        Err(ParamError::new("keep_last", message))
    }
}

/// What `keep_last` means for this table.
///
/// # Errors
/// A refusal if a column is missing, or if a large table has no index on the key.
pub async fn last(context: &mut RunContext, keep: &KeepLast, facts: &Facts) -> Result<Newest, Stop> {
    let names = target::names(context, facts.name(), &keep.per).await?;
    let Some(names) = names else {
        return Err(wrong("keep_last", format!("there is no table {}", facts.name())));
    };
    if let Some(missing) = names.missing(&keep.per) {
        return Err(wrong("keep_last", format!("{} has no column {missing}", facts.name())));
    }
    let rows = context.query(statements::PURGE_KEY, &[&facts.oid(), &keep.per]).await?;
    let Some(row) = rows.first() else { return Err(wrong("keep_last", "the table is gone".to_owned())) };
    let (indexed, small): (bool, bool) = (row.get("indexed"), row.get("small"));
    let key: Vec<Quoted> = names.columns.into_iter().flatten().collect();
    if !indexed && !small {
        let columns: Vec<String> = key.iter().map(ToString::to_string).collect();
        let reason = format!(
            "keep_last: no index of {} leads with its key, and each row would read the table",
            facts.name()
        );
        // PostgreSQL cannot do that concurrently for all partitions at once.
        let create = if facts.partitioned() { "CREATE INDEX" } else { "CREATE INDEX CONCURRENTLY" };
        return Err(Stop::refused(reason, format!("{create} ON {} ({});", facts.name(), columns.join(", "))));
    }
    let primary: Vec<String> = row.get("primary_key");
    let order = match (primary.is_empty(), facts.partitioned()) {
        (false, _) => primary,
        (true, false) => vec!["ctid".to_owned()],
        (true, true) => vec!["tableoid".to_owned(), "ctid".to_owned()],
    };
    let order = order.into_iter().map(Quoted::by_server).collect();
    Ok(Newest { before: i64::from(keep.rows) - 1, key, order })
}

/// The cutoff, moved back so that at least `rows` rows of the table are not before it.
pub async fn at_least(
    context: &mut RunContext,
    scope: &Scope,
    rows: u64,
    cutoff: Cutoff,
) -> Result<Cutoff, Stop> {
    let before = i64::try_from(rows.saturating_sub(1)).unwrap_or(i64::MAX);
    let Some(sql) = scope.newest(&before) else { return Ok(cutoff) };
    let found = context.query(&sql.text, &sql.values).await?;
    // Where there are no more rows than that, all stay.
    let newest: Moment = found.first().and_then(|row| row.get(0)).unwrap_or(Moment::BEGINNING);
    Ok(Cutoff { age: cutoff.age.min(newest), ..cutoff })
}
