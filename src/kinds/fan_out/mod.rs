//! The kind `fan_out`: each row of a query becomes a one-off run of another job, with inputs of its own.
//!
//! Rows are read and submitted page by page in the order of their key, each page in one fenced transaction with the
//! position: whatever crashes, a row is submitted once for each occurrence. What is easy to get wrong: the page must be
//! read in the very transaction that submits it, and a row without a key has no place in the order, so it is refused and
//! not passed over. The query is an author's text: it runs with the rights of the job's role, in a function.

mod params;
mod target;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{params::Params, target::Target};
use crate::{
    Error, ErrorKind,
    kind::{
        Description, Kind, Mode, Nature, ParamError, Report, Rights, RunContext, Stop, Stopped,
        sql::Quoted,
        trampoline::{Trampoline, explain},
    },
    statements,
};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct FanOut;

/// The parameter that the query stands in.
const PARAM: &str = "query";
/// How long a page may take, and wait for locks.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(300), Duration::from_millis(200)];
/// How often a run looks whether others are done.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often in a row a page may meet contention before the run fails.
const PATIENCE: u32 = 10;

/// What a run remembers: how far all attempts of the occurrence have come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// The key of the last row that was submitted, as text.
    last: Option<String>,
    /// Rows that became one-offs.
    submitted: u64,
    /// Rows whose key was pending already.
    deduplicated: u64,
    /// Whether all rows are through.
    all: bool,
}

impl Cursor {
    fn rows(&self) -> u64 {
        self.submitted + self.deduplicated
    }
}

impl Kind for FanOut {
    type Params = Params;

    fn name(&self) -> &'static str {
        "fan_out"
    }

    fn rights(&self) -> Rights {
        Rights::OfJob
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Makes each row of a query a one-off run of another job, with inputs of its own.",
            nature: Nature::Database,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let query = Trampoline::prepare(context, PARAM, &params.query).await?;
        let target = Target::find(context, &params, &query).await?;
        if context.mode() == Mode::Dry {
            return dry(context, &params, &query).await;
        }
        let mut cursor = context.cursor::<Cursor>()?.unwrap_or_default();
        let limit = context.options().limit_rows;
        while !cursor.all && limit.is_none_or(|limit| cursor.rows() < limit) {
            make_room(context, &params, &target, &cursor).await?;
            let left = limit.map_or(u64::MAX, |limit| limit - cursor.rows());
            let most = params.batch.min(u32::try_from(left).unwrap_or(u32::MAX));
            cursor = patiently(context, &params, &query, &target, cursor, most).await?;
            context.progress(&cursor).await?;
        }
        let stopped = if cursor.all { Stopped::Drained } else { Stopped::LimitRows };
        if params.wait {
            wait(context, &target, &cursor).await?;
        }
        Ok(Report::new(stopped)
            .with("job", params.job)
            .with("rows", cursor.rows())
            .with("submitted", cursor.submitted)
            .with("deduplicated", cursor.deduplicated))
    }
}

/// Counts the rows, and submits none.
async fn dry(context: &mut RunContext, params: &Params, query: &Trampoline) -> Result<Report, Stop> {
    let text = format!("SELECT pg_catalog.count(*) AS rows FROM ({}\n) AS q", query.text());
    let mut watch = context.watch();
    let mut transaction = context.begin().await?;
    query.install(&mut transaction, TIMEOUTS).await?;
    transaction.execute(statements::SQL_READ_ONLY, &[]).await?;
    let counted = watch.over(query.call_around(&mut transaction, &text, &[], 1)).await?;
    transaction.roll_back().await?;
    let rows = counted.map_err(|stop| explain(stop, PARAM))?;
    let rows = rows.first().and_then(|row| row.get("rows")).cloned().unwrap_or_default();
    Ok(Report::new(Stopped::Drained).with("job", params.job.as_str()).with("would_submit", rows))
}

/// Waits while too many one-offs of the job are not done.
async fn make_room(
    context: &mut RunContext,
    params: &Params,
    target: &Target,
    cursor: &Cursor,
) -> Result<(), Stop> {
    let mut told = false;
    while target.pending(context, params).await? >= params.max_pending.into() {
        if !told {
            let progress = json!({"rows": cursor.rows(), "waits_for": "max_pending"});
            context.progress(&progress).await?;
            told = true;
        }
        context.rest(LOOK_EVERY).await?;
    }
    Ok(())
}

/// Waits until what this job submitted is done.
async fn wait(context: &mut RunContext, target: &Target, cursor: &Cursor) -> Result<(), Stop> {
    loop {
        let left = target.own_pending(context).await?;
        if left == 0 {
            return Ok(());
        }
        context.progress(&json!({"rows": cursor.rows(), "not_done": left})).await?;
        context.rest(LOOK_EVERY).await?;
    }
}

/// One page; one that met contention is tried again.
async fn patiently(
    context: &mut RunContext,
    params: &Params,
    query: &Trampoline,
    target: &Target,
    cursor: Cursor,
    most: u32,
) -> Result<Cursor, Stop> {
    let mut tries = 1;
    loop {
        match page(context, params, query, target, &cursor, most).await {
            Err(Stop::Failed(error)) if tries < PATIENCE && is_contention(&error) => tries += 1,
            Err(stop) => return Err(explain(stop, PARAM)),
            moved => return moved,
        }
        context.rest(Duration::from_millis(200)).await?;
    }
}

/// Reads a page and submits it, in one transaction; the position behind it.
async fn page(
    context: &mut RunContext,
    params: &Params,
    query: &Trampoline,
    target: &Target,
    cursor: &Cursor,
    most: u32,
) -> Result<Cursor, Stop> {
    let text = page_text(query, &Quoted::name(&params.key), &target.key_type, most);
    let mut watch = context.watch();
    let mut transaction = context.begin().await?;
    query.install(&mut transaction, TIMEOUTS).await?;
    let last = [cursor.last.clone()];
    let rows = watch.over(query.call_around(&mut transaction, &text, &last, most)).await??;
    query.discard(&mut transaction).await?;
    let mut moved = cursor.clone();
    let mut given = Vec::new();
    for row in &rows {
        let key = key_of(row, params)?;
        given.push(json!({"key": key, "inputs": target.inputs_of(row.get("q").unwrap_or(&Value::Null))}));
        moved.last = Some(key);
    }
    moved.all = u32::try_from(rows.len()).is_ok_and(|rows| rows < most);
    let answer = transaction
        .query(statements::SUBMIT_ROWS, &[&params.job, &Value::Array(given), &target.source])
        .await
        .map_err(refused)?;
    if let Some(row) = answer.first() {
        moved.submitted += row.get::<_, i64>(0).unsigned_abs();
        moved.deduplicated += row.get::<_, i64>(1).unsigned_abs();
    }
    let submitted = moved.submitted - cursor.submitted;
    transaction.commit(submitted, &moved).await?;
    Ok(moved)
}

/// The rows behind the last one, in the order of the key; those without one at the end, so that they are seen.
fn page_text(query: &Trampoline, key: &Quoted, key_type: &Quoted, most: u32) -> String {
    let (key, last) = (key.as_str(), format!("($1::text[])[{}]", query.inputs() + 1));
    format!(
        "SELECT q.{key}::text AS key, pg_catalog.to_jsonb(q.*) AS q FROM ({}\n) AS q \
         WHERE {last} IS NULL OR q.{key} > {last}::{} OR q.{key} IS NULL ORDER BY q.{key} NULLS LAST LIMIT {most}",
        query.text(),
        key_type.as_str()
    )
}

fn key_of(row: &Value, params: &Params) -> Result<String, Stop> {
    match row.get("key").and_then(Value::as_str) {
        Some(key) if !key.is_empty() && key.chars().count() <= 500 => Ok(key.to_owned()),
        _ => {
            let reason =
                format!("params.key: a row has no key in \"{}\", or one of over 500 characters", params.key);
            Err(Stop::refused(reason, "leave such rows out of the query"))
        }
    }
}

/// What the database says of a row or of the job is a refusal: trying again would meet the same.
fn refused(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(error) if matches!(error.sqlstate(), Some("SX005" | "SX006")) => {
            let remedy = error.remedy().unwrap_or("mend the query, or the job's inputs").to_owned();
            Stop::refused(error.to_string(), remedy)
        }
        other => other,
    }
}

/// A lock that was not to be had, a deadlock, a conflict of serializable transactions.
fn is_contention(error: &Error) -> bool {
    error.kind() != ErrorKind::Invalid && matches!(error.sqlstate(), Some("55P03" | "40001" | "40P01"))
}
