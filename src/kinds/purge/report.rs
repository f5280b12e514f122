//! What a purge says afterwards, or, as a dry run, beforehand.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    cursor::{Cursor, Place},
    guard::{self, Eligible, Verdict},
    params::Params,
    statement::Scope,
    walk::Walk,
    window::Window,
};
use crate::{
    kind::{ComeBack, Report, RunContext, Stop, Stopped, interval::Retention},
    statements,
};

/// Sizes of a table.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    bytes: i64,
    dead: i64,
}

impl Sizes {
    /// Reads them.
    pub async fn read(context: &mut RunContext, oid: u32) -> Result<Self, Stop> {
        let rows = context.query(statements::PURGE_SIZE, &[&oid]).await?;
        let number = |at: usize| rows.first().map(|row| row.get::<_, i64>(at)).unwrap_or_default();
        Ok(Sizes { bytes: number(0), dead: number(1) })
    }

    fn to_json(self) -> Value {
        json!({"table_bytes": self.bytes, "dead_tuples": self.dead})
    }
}

/// Where the WAL stands; `None` where the role may not know.
pub async fn wal(context: &mut RunContext) -> Result<Option<i64>, Stop> {
    match context.query(statements::PURGE_WAL, &[]).await {
        Ok(rows) => Ok(rows.first().and_then(|row| row.get(0))),
        Err(Stop::Failed(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// What stood before the walk.
#[derive(Debug)]
pub struct Before {
    /// When the run began.
    pub since: tokio::time::Instant,
    /// When the walk began.
    pub started: tokio::time::Instant,
    /// The table's sizes.
    pub sizes: Sizes,
    /// Where the WAL stood.
    pub wal: Option<i64>,
    /// What people should know.
    pub warnings: Vec<String>,
    /// The rows that an operator approved, if the purge passed by that.
    pub approved: Option<u64>,
}

/// The report of a run that deleted.
pub async fn of_run(
    context: &mut RunContext,
    params: &Params,
    before: Before,
    walk: Walk<'_>,
    stopped: Stopped,
    oid: u32,
) -> Result<Report, Stop> {
    let took = before.started.elapsed();
    let wal = wal(context).await?.zip(before.wal).map(|(after, before)| after - before);
    let after = Sizes::read(context, oid).await?;
    let left = left(context, &walk, stopped).await?;
    let Walk { cursor, tally, whole, pressure, removal, parts, .. } = &walk;
    let whole = whole.as_ref().map(|whole| whole.to_json());
    let removal = removal.as_ref().map(|removal| removal.to_json());
    let (min, max) = tally.extremes.unwrap_or_default();
    let details = json!({
        "dry": false,
        "cutoff": cursor.cutoff.map(|cutoff| cutoff.at.to_string()),
        "retention": params.retention_text(),
        "grace": params.grace.as_ref().map(Retention::as_str),
        "walk": cursor.walk(), "walk_why": cursor.why,
        "eligible_before": cursor.eligible, "eligible_counted": cursor.counted,
        "deleted": tally.deleted, "skipped_locked": tally.skipped_locked, "batches": tally.batches,
        "batch_rows": {"last": tally.last, "min": min, "max": max}, "batch_ms_max": milliseconds(tally.longest),
        "crowded_ages": tally.crowded, "bounds_guessed": tally.guessed,
        "rows_per_second": per_second(tally.deleted, took),
        "busy_ms": milliseconds(tally.busy), "resting_ms": milliseconds(tally.rested),
        "wal_bytes": wal, "wal_is": "of the whole server meanwhile",
        "before": before.sizes.to_json(), "after": after.to_json(),
        "holds": holds(walk.scope), "approved": before.approved, "warnings": before.warnings,
    });
    let mut report = filled(
        Report::new(stopped),
        [
            details,
            left,
            whole.unwrap_or_default(),
            removal.unwrap_or_default(),
            pressure.to_json(),
            parts.clone(),
        ],
    );
    let elapsed = jiff::SignedDuration::try_from(before.since.elapsed()).unwrap_or_default();
    let now = context.now().checked_add(elapsed).unwrap_or(context.now());
    report.come_back = come_back(params, stopped, now);
    Ok(report)
}

/// The report of a run that found its window closed.
pub fn of_closed_window(params: &Params, now: Timestamp) -> Report {
    let stopped = Stopped::WindowClosed;
    let details = json!({
        "dry": false, "deleted": 0, "batches": 0, "window": params.window.as_ref().map(Window::as_str),
    });
    let mut report = filled(Report::new(stopped), [details]);
    report.come_back = come_back(params, stopped, now);
    report
}

/// When the rest is seen to: as soon as the window opens, or the database has rested.
fn come_back(params: &Params, stopped: Stopped, now: Timestamp) -> ComeBack {
    match stopped {
        Stopped::BackPressure => ComeBack::Soon,
        Stopped::WindowClosed => {
            let opens = params.window.as_ref().and_then(|window| window.opens(now));
            opens.map_or(ComeBack::Soon, ComeBack::At)
        }
        _ => ComeBack::Regularly,
    }
}

/// What is left, where that is cheap to tell.
async fn left(context: &mut RunContext, walk: &Walk<'_>, stopped: Stopped) -> Result<Value, Stop> {
    let partitions_alone = matches!(walk.cursor.at, Place::Partition(_));
    if stopped == Stopped::Drained && !partitions_alone {
        let referenced = guard::count_referenced(context, walk.scope, walk.cursor.cutoff.as_ref()).await?;
        let left = walk.tally.skipped_locked + referenced.unwrap_or_default();
        return Ok(json!({"rows_left": left, "skipped_referenced": referenced}));
    }
    let Cursor { at, cutoff, eligible, .. } = &walk.cursor;
    let estimate = eligible.saturating_sub(walk.tally.deleted);
    let (Place::Age(from), Some(cutoff)) = (at, cutoff) else {
        return Ok(json!({"rows_left_estimate": estimate}));
    };
    let none = 0;
    let Some(sql) = walk.scope.next_ages(from, &cutoff.age, &none) else { return Ok(json!({})) };
    let rows = context.query(&sql.text, &sql.values).await?;
    let oldest = walk.scope.shown(rows.first().and_then(|row| row.get(0)));
    Ok(json!({"rows_left_estimate": estimate, "oldest_left": oldest}))
}

/// What a dry run found out.
#[derive(Debug)]
pub struct Found {
    /// The cutoff.
    pub cutoff: Option<Timestamp>,
    /// What the guards say.
    pub verdict: Verdict,
    /// The walk that a run would take.
    pub walk: Option<(&'static str, String)>,
    /// The partitions that would go, as JSON.
    pub whole: Value,
    /// Rows of child tables that would go with theirs, as JSON; nothing if none are named.
    pub children: Option<Vec<Value>>,
    /// Where rows would be kept.
    pub archive: Option<String>,
    /// Oldest and youngest age that would go.
    pub extent: Option<(Value, Value)>,
    /// Rows that are old and stay, by holds and by what the job protects.
    pub kept: u64,
    /// Why a run would refuse, guards apart.
    pub problems: Vec<(String, Option<String>)>,
    /// Statements that make what is missing.
    pub missing: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// The report of a dry run.
pub fn of_dry_run(params: &Params, scope: &Scope, found: Found) -> Report {
    let Eligible { rows, of, .. } = found.verdict.eligible;
    let mut refusals = found.problems;
    refusals.extend(found.verdict.refusal.map(|refusal| (refusal.reason, Some(refusal.remedy))));
    let refusals: Vec<Value> =
        refusals.into_iter().map(|(reason, remedy)| json!({"reason": reason, "remedy": remedy})).collect();
    let (oldest, newest) = found.extent.unwrap_or_default();
    let (walk, why) = found.walk.unzip();
    let details = json!({
        "dry": true,
        "cutoff": found.cutoff.map(|at| at.to_string()),
        "retention": params.retention_text(),
        "grace": params.grace.as_ref().map(Retention::as_str),
        "eligible": rows, "kept": found.kept, "holds": holds(scope), "table_rows": of, "oldest": oldest, "newest": newest,
        "children": found.children, "archive": found.archive,
        "walk": walk, "walk_why": why,
        "would_refuse": refusals, "missing_indexes": found.missing, "warnings": found.warnings,
        "deleted": 0,
    });
    filled(Report::new(Stopped::Drained), [details, found.whole])
}

/// The holds that were kept; nothing if there are none.
fn holds(scope: &Scope) -> Option<&[Value]> {
    Some(scope.holds.as_slice()).filter(|holds| !holds.is_empty())
}

fn filled(mut report: Report, parts: impl IntoIterator<Item = Value>) -> Report {
    for part in parts {
        let Value::Object(details) = part else { continue };
        report
            .details
            .extend(details.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>());
    }
    report
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn per_second(rows: u64, time: Duration) -> u64 {
    (rows as f64 / time.as_secs_f64().max(0.001)) as u64
}
