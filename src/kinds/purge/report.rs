//! What a purge says afterwards, or, as a dry run, beforehand.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    care,
    cursor::Cutoff,
    guard::{Eligible, Verdict},
    history::History,
    left,
    lifetime::Lifetime,
    moment::Moment,
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
    /// Rows that earlier attempts deleted.
    pub done: u64,
    /// Where the WAL stood.
    pub wal: Option<i64>,
    /// What people should know.
    pub warnings: Vec<String>,
    /// The rows that an operator approved, if the purge passed by that.
    pub approved: Option<u64>,
    /// Which of several targets it is.
    pub target: Option<usize>,
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
    let history = History::read(context, before.target).await?;
    let left = left::after(context, &walk, stopped, oid, before.done, &history).await?;
    let life = Lifetime::of(context, params, walk.cursor.cutoff.as_ref(), &history);
    let walked = Sizes::read(context, oid).await?;
    let care = care::after(context, params, oid, walk.tally.deleted, stopped).await?;
    let after = if care.interrupted { walked } else { Sizes::read(context, oid).await? };
    let mut warnings = before.warnings;
    warnings.extend(life.as_ref().and_then(Lifetime::warning));
    warnings.extend(care.warnings);
    let Walk { cursor, tally, whole, pressure, removal, parts, .. } = &walk;
    let whole = whole.as_ref().map(|whole| whole.to_json());
    let removal = removal.as_ref().map(|removal| removal.to_json());
    #[cfg(feature = "http")]
    let calls = match &walk.before {
        Some(before) => before.to_json(context).await?,
        None => Value::Null,
    };
    #[cfg(not(feature = "http"))]
    let calls = Value::Null;
    let (min, max) = tally.extremes.unwrap_or_default();
    let details = json!({
        "dry": false,
        "cutoff": cursor.cutoff.map(|cutoff| cutoff.at.to_string()),
        "retention": params.retention_text(),
        "grace": params.grace.as_ref().map(Retention::as_str),
        "walk": cursor.walk(), "walk_why": cursor.why,
        "eligible": cursor.eligible, "eligible_counted": cursor.counted,
        "deleted": tally.deleted, "skipped_locked": tally.skipped_locked, "batches": tally.batches,
        "batch_rows": {"last": tally.last, "min": min, "max": max}, "batch_ms_max": milliseconds(tally.longest),
        "crowded_ages": tally.crowded, "bounds_guessed": tally.guessed, "slices": tally.slices, "begun_ahead": tally.ahead,
        "rows_per_second": per_second(tally.deleted, took),
        "busy_ms": milliseconds(tally.busy), "resting_ms": milliseconds(tally.rested),
        "wal_bytes": wal, "wal_is": "of the whole server meanwhile",
        "before": before.sizes.to_json(), "after": after.to_json(),
        "holds": holds(walk.scope), "approved": before.approved, "warnings": warnings,
        "longest_life": life.as_ref().map(Lifetime::to_json),
    });
    let all = [
        details,
        left,
        whole.unwrap_or_default(),
        removal.unwrap_or_default(),
        calls,
        pressure.to_json(),
        parts.clone(),
        care.details,
    ];
    let mut report = filled(Report::new(stopped), all);
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

/// What a dry run found out.
#[derive(Debug)]
pub struct Found {
    /// The cutoff.
    pub cutoff: Option<Cutoff>,
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
    /// The calls that would be made, as JSON.
    pub calls: Value,
    /// Oldest and youngest age that would go.
    pub extent: Option<(Option<Moment>, Option<Moment>)>,
    /// How earlier runs went.
    pub history: History,
    /// The longest time that a row can live.
    pub life: Option<Lifetime>,
    /// The most rows of one run.
    pub limit_rows: Option<u64>,
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
pub fn of_dry_run(params: &Params, scope: &Scope, now: Timestamp, found: Found) -> Report {
    let Eligible { rows, of, counted } = found.verdict.eligible;
    let mut refusals = found.problems;
    refusals.extend(found.verdict.refusal.map(|refusal| (refusal.reason, Some(refusal.remedy))));
    let refusals: Vec<Value> =
        refusals.into_iter().map(|(reason, remedy)| json!({"reason": reason, "remedy": remedy})).collect();
    let (oldest, newest) = found.extent.unwrap_or_default();
    let backlog = left::all(scope, rows, counted, oldest, found.cutoff.as_ref());
    let (walk, why) = found.walk.unzip();
    let estimate = walk.and_then(|walk| found.history.estimate(walk, rows, found.limit_rows));
    let mut warnings = found.warnings;
    warnings.extend(found.life.as_ref().and_then(Lifetime::warning));
    let details = json!({
        "dry": true,
        "cutoff": found.cutoff.map(|cutoff| cutoff.at.to_string()), "as_of": now.to_string(),
        "retention": params.retention_text(),
        "grace": params.grace.as_ref().map(Retention::as_str),
        "eligible": rows, "eligible_counted": counted, "kept": found.kept, "holds": holds(scope), "table_rows": of,
        "oldest": scope.shown(oldest), "newest": scope.shown(newest), "backlog": backlog,
        "children": found.children, "archive": found.archive,
        "walk": walk, "walk_why": why,
        "would_refuse": refusals, "missing_indexes": found.missing, "warnings": warnings,
        "estimate": estimate, "longest_life": found.life.as_ref().map(Lifetime::to_json),
        "deleted": 0,
    });
    filled(Report::new(Stopped::Drained), [details, found.whole, found.calls])
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
