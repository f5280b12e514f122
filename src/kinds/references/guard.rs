//! The guards: refuse a removal that looks wrong, before it begins and again before each batch commits.
//!
//! What is easy to get wrong: the source is the danger, not the table. A query for valid ids that gives none, or half of
//! them, makes every reference dangle.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::Row;

use super::{params::Params, statement::Target, walk::Cursor};
use crate::kind::{RunContext, Stop};

/// What the survey counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Rows looked at.
    pub rows: u64,
    /// Their references.
    pub references: u64,
    /// Rows that would change, those that would be deleted among them.
    pub changed: u64,
    /// References that would be removed.
    pub removed: u64,
    /// Rows that would be deleted.
    pub deleted: u64,
    /// Elements of jsonb lists that are no ids, which stay.
    pub unreadable: u64,
    /// For each column whether its valid ids are none.
    pub none_valid: Vec<bool>,
}

impl From<&Row> for Found {
    fn from(row: &Row) -> Self {
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        Found {
            rows: number(0),
            references: number(1),
            changed: number(2),
            removed: number(3),
            deleted: number(4),
            unreadable: number(5),
            none_valid: row.get(6),
        }
    }
}

impl Found {
    /// Adds what another range has.
    pub fn add(&mut self, other: &Found) {
        self.rows += other.rows;
        self.references += other.references;
        self.changed += other.changed;
        self.removed += other.removed;
        self.deleted += other.deleted;
        self.unreadable += other.unreadable;
        self.none_valid.resize(other.none_valid.len(), false);
        for (all, one) in self.none_valid.iter_mut().zip(&other.none_valid) {
            *all |= one;
        }
    }
}

/// Judges what the survey found. `Ok(true)` if it passes by an operator's approval alone.
///
/// # Errors
/// The refusal.
pub fn judge(context: &RunContext, params: &Params, target: &Target, found: &Found) -> Result<bool, Stop> {
    if let Some(reason) = empty(params, target, &found.none_valid).filter(|_| found.removed > 0) {
        return Err(refused(reason, EMPTY_REMEDY.to_owned(), found));
    }
    let Some(reason) = too_much(params, found.changed, found.removed, found.references) else {
        return Ok(false);
    };
    if context.approved_rows().is_some_and(|approved| found.changed <= approved) {
        return Ok(true);
    }
    let job = context.job();
    let remedy = format!(
        "If that is right, let one run through: sexton arm {job} --approve {rows} (or: SELECT sexton.arm('{}', {rows});)",
        job.replace('\'', "''"),
        rows = found.changed + found.changed / 100 + 1,
    );
    Err(refused(format!("{reason}: {} rows would change", found.changed), remedy, found))
}

/// Judges a batch before it commits; `next` is what it would make of the run.
pub fn of_batch(params: &Params, target: &Target, next: &Cursor, none_valid: &[bool]) -> Option<Stop> {
    if let Some(reason) = empty(params, target, none_valid) {
        return Some(refused(reason, EMPTY_REMEDY.to_owned(), &next.found));
    }
    if next.approved {
        return None;
    }
    let reason = too_much(params, next.changed, next.removed, next.found.references)?;
    let remedy = "what the run removed before stands in sexton.audit; look at the queries for ids".to_owned();
    Some(refused(format!("{reason}, and the survey had found {}", next.found.removed), remedy, &next.found))
}

const EMPTY_REMEDY: &str = "if that is right, set allow_empty = true";

fn empty(params: &Params, target: &Target, none_valid: &[bool]) -> Option<String> {
    let place = none_valid.iter().position(|none| *none).filter(|_| !params.allow_empty)?;
    let column = target.places.get(place).map_or("", |place| place.called.as_str());
    Some(format!("params.valid gives no id at all, so that every reference of {column} would dangle"))
}

fn too_much(params: &Params, changed: u64, removed: u64, references: u64) -> Option<String> {
    if let Some(limit) = params.refuse_above.filter(|limit| changed > *limit) {
        return Some(format!("more than {limit} rows would change (refuse_above)"));
    }
    let fraction = removed as f64 / references.max(1) as f64;
    (fraction > params.max_fraction).then(|| {
        format!(
            "{:.0} % of the references would go, more than max_fraction = {}",
            (100.0 * fraction).min(100.0),
            params.max_fraction
        )
    })
}

fn refused(reason: String, remedy: String, found: &Found) -> Stop {
    let details: Map<String, Value> = [
        ("rows", found.rows),
        ("references", found.references),
        ("would_change", found.changed),
        ("would_remove", found.removed),
    ]
    .into_iter()
    .map(|(name, number)| (name.to_owned(), number.into()))
    .collect();
    Stop::Refused { reason, remedy: Some(remedy), details }
}
