//! What a run left: how many rows, how old the oldest is, and whether the job keeps up.
//!
//! A run that ended before its work must not read the rest of the table to say so. What is easy to get wrong: the first row
//! behind the position need not be one that goes, so the oldest is looked for with the whole predicate, along an index
//! and for two seconds at the most; else nobody knows.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    cursor::{Cursor, Cutoff, Place, Range},
    guard,
    history::{Backlog, History},
    moment::Moment,
    statement::Scope,
    walk::Walk,
};
use crate::{
    kind::{RunContext, Stop, Stopped},
    statements,
};

/// How long the oldest row that is left is looked for.
const LOOK_MOST: Duration = Duration::from_secs(2);

/// What the report of a run says of what is left. `before` rows were deleted by earlier attempts.
pub async fn after(
    context: &mut RunContext,
    walk: &Walk<'_>,
    stopped: Stopped,
    oid: u32,
    before: u64,
    history: &History,
) -> Result<Value, Stop> {
    let Cursor { at, cutoff, eligible, .. } = &walk.cursor;
    let drained = walk.tally.deleted.saturating_add(before);
    let mut backlog = Backlog {
        as_of: context.now(),
        rows: eligible.saturating_sub(drained),
        counted: false,
        oldest: None,
        overdue_s: None,
        drained,
        stopped,
    };
    let mut left = if stopped == Stopped::Drained && !matches!(at, Place::Partition(_)) {
        let referenced = guard::count_referenced(context, walk.scope, cutoff.as_ref()).await?;
        (backlog.rows, backlog.counted) = (walk.tally.skipped_locked + referenced.unwrap_or_default(), true);
        json!({"rows_left": backlog.rows, "skipped_referenced": referenced})
    } else {
        if let Some(cutoff) = cutoff {
            let oldest = oldest(context, walk.scope, *at, cutoff, oid).await?;
            backlog.overdue_s = oldest.and_then(|oldest| overdue(walk.scope, oldest, cutoff));
            backlog.oldest = walk.scope.shown(oldest);
            // A budget of exactly what there was leaves none.
            if backlog.oldest.is_some() {
                backlog.rows = backlog.rows.max(1);
            }
        }
        json!({"rows_left_estimate": backlog.rows, "oldest_left": backlog.oldest})
    };
    left["deleted_before"] = if before > 0 { json!(before) } else { Value::Null };
    left["as_of"] = json!(backlog.as_of.to_string());
    left["backlog"] = history.backlog(&backlog);
    Ok(left)
}

/// The same for a dry run, or one that was refused: all that is eligible is left.
pub fn all(
    scope: &Scope,
    rows: u64,
    counted: bool,
    oldest: Option<Moment>,
    cutoff: Option<&Cutoff>,
) -> Value {
    let overdue = oldest.zip(cutoff).and_then(|(oldest, cutoff)| overdue(scope, oldest, cutoff));
    json!({"rows": rows, "counted": counted, "oldest": scope.shown(oldest), "overdue_s": overdue})
}

/// For how long an age is below the cutoff, in seconds.
fn overdue(scope: &Scope, oldest: Moment, cutoff: &Cutoff) -> Option<u64> {
    let instant = |moment| scope.shown(Some(moment))?.parse::<jiff::Timestamp>().ok();
    let seconds = instant(cutoff.age)?.duration_since(instant(oldest)?).as_secs();
    Some(u64::try_from(seconds).unwrap_or_default())
}

/// The age of the oldest row that is left, if an index tells it soon.
async fn oldest(
    context: &mut RunContext,
    scope: &Scope,
    at: Place,
    cutoff: &Cutoff,
    oid: u32,
) -> Result<Option<Moment>, Stop> {
    let from = match at {
        Place::Age(from) => from,
        Place::Block(_) | Place::Partition(_) => {
            let Some(column) = scope.age.as_ref().and_then(|age| age.column) else { return Ok(None) };
            let rows = context.query(statements::PURGE_INDEX, &[&oid, &column]).await?;
            if rows.first().and_then(|row| row.get::<_, Option<String>>("index")).is_none() {
                return Ok(None);
            }
            Moment::BEGINNING
        }
    };
    let range = Range::Ages(from, cutoff.age);
    let Some(sql) = scope.oldest_in(Some(cutoff), &range) else { return Ok(None) };
    context.limit_statements(Some(LOOK_MOST)).await?;
    let found = context.query(&sql.text, &sql.values).await;
    context.limit_statements(None).await?;
    match found {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get(0))),
        Err(Stop::Failed(error)) if matches!(error.sqlstate(), Some("57014" | "55P03")) => Ok(None),
        Err(stop) => Err(stop),
    }
}
