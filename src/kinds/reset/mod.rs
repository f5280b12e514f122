//! The kind `reset`: rows that are stuck in a state for too long are set to another.
//!
//! It is no state machine and no purge: one column goes from any of some values to one other, and nothing is deleted.
//! What is easy to get wrong: a row that changed meanwhile is not stuck, so the whole condition stands in the UPDATE
//! itself, and a row that somebody has locked is being worked on, so it is passed over.

mod params;
mod stuck;
mod target;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::{params::Params, stuck::Stuck};
use crate::{
    Error, ErrorKind,
    kind::{Batch, Description, Kind, Mode, Nature, ParamError, Report, RunContext, Stop, Stopped, Undone},
    statements,
};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reset;

/// How often in a row a batch may meet contention before the run fails.
const PATIENCE: u32 = 10;

/// What a reset remembers: fixed by the first attempt of an occurrence.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cursor {
    /// Rows whose state is older than this are stuck.
    cutoff: jiff::Timestamp,
    /// Rows that were stuck when the first attempt began.
    stuck: u64,
}

/// What the run has done so far.
#[derive(Default)]
struct Progress {
    rows: u64,
    undone_in_a_row: u32,
}

impl Kind for Reset {
    type Params = Params;

    fn name(&self) -> &'static str {
        "reset"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Sets rows that are stuck in a state for too long to another state.",
            nature: Nature::Database,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let cursor = context.cursor::<Cursor>()?;
        let cutoff = match &cursor {
            Some(cursor) => cursor.cutoff,
            None => cutoff(context, &params).await?,
        };
        let stuck = target::stuck(context, &params, cutoff).await?;
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => Cursor { cutoff, stuck: count(context, &stuck).await? },
        };
        let report = Report::new(Stopped::Drained)
            .with("table", stuck.table.as_str())
            .with("to", params.to.as_str())
            .with("cutoff", cutoff.to_string())
            .with("stuck", cursor.stuck);
        if context.mode() == Mode::Dry {
            return Ok(report.with("would_reset", cursor.stuck));
        }
        work(context, &params, &stuck, &cursor, report).await
    }
}

async fn work(
    context: &mut RunContext,
    params: &Params,
    stuck: &Stuck,
    cursor: &Cursor,
    mut report: Report,
) -> Result<Report, Stop> {
    let earlier = done_before(context).await?;
    let limit = [params.limit_rows, context.options().limit_rows].into_iter().flatten().min();
    let mut progress = Progress { rows: earlier, undone_in_a_row: 0 };
    loop {
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(progress.rows));
        if left == 0 {
            report.stopped = Stopped::LimitRows;
            break;
        }
        if progress.rows > cursor.stuck {
            return Err(no_progress(context, stuck, cursor));
        }
        let rows = i64::try_from(left.min(params.batch)).unwrap_or(i64::MAX);
        if batch(context, stuck, rows, cursor, &mut progress).await? == Some(0) {
            break;
        }
    }
    let still = count(context, stuck).await?;
    // What is left after an empty batch is locked by others; after the limit, it is simply left.
    let left = if report.stopped == Stopped::LimitRows { "left" } else { "locked" };
    Ok(report.with("rows", progress.rows).with(left, still))
}

/// One batch: how many rows it changed, or `None` if it is to be tried again.
async fn batch(
    context: &mut RunContext,
    stuck: &Stuck,
    rows: i64,
    cursor: &Cursor,
    progress: &mut Progress,
) -> Result<Option<u64>, Stop> {
    let sql = stuck.update(&rows);
    match context.batch(&sql.text, &sql.values, cursor).await? {
        Batch::Committed { rows, .. } => {
            progress.rows += rows;
            progress.undone_in_a_row = 0;
            context.progress(&serde_json::json!({ "rows": progress.rows, "of": cursor.stuck })).await?;
            Ok(Some(rows))
        }
        Batch::Undone(undone) => {
            progress.undone_in_a_row += 1;
            if progress.undone_in_a_row >= PATIENCE {
                return Err(contended(stuck, undone));
            }
            context.rest(Duration::from_millis(200)).await?;
            Ok(None)
        }
    }
}

async fn cutoff(context: &mut RunContext, params: &Params) -> Result<jiff::Timestamp, Stop> {
    let now = context.now();
    let rows = context.query(statements::RESET_CUTOFF, &[&now, &params.after.as_str()]).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| internal("the database does not compute the cutoff"))
}

async fn count(context: &mut RunContext, stuck: &Stuck) -> Result<u64, Stop> {
    let sql = stuck.count();
    let rows = context.query(&sql.text, &sql.values).await?;
    rows.first()
        .map(|row| row.get::<_, i64>(0).unsigned_abs())
        .ok_or_else(|| internal("the database does not count"))
}

async fn done_before(context: &mut RunContext) -> Result<u64, Stop> {
    let run = context.run_id();
    let rows = context.query(statements::PURGE_DONE_BEFORE, &[&run]).await?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
}

fn internal(message: &str) -> Stop {
    Stop::Failed(Error::new(ErrorKind::Database, message))
}

fn no_progress(context: &RunContext, stuck: &Stuck, cursor: &Cursor) -> Stop {
    let message = format!(
        "no progress: more rows of {} were reset than the {} that were stuck",
        stuck.table.as_str(),
        cursor.stuck
    );
    let error = Error::new(ErrorKind::Database, message).about(format!("job {}", context.job()));
    Stop::Failed(error.with_remedy("look for a trigger that sets the state back"))
}

fn contended(stuck: &Stuck, undone: Undone) -> Stop {
    let (what, remedy) = match undone {
        Undone::LockTimeout => ("a lock was not to be had", "see who holds locks: SELECT * FROM pg_locks"),
        Undone::StatementTimeout => {
            ("a batch took longer than 5 minutes", "lower params.batch, or index the state")
        }
        Undone::Conflict => ("a deadlock or a conflict came up", "run it at a quieter time"),
    };
    let message = format!("{}: {what}, {PATIENCE} times in a row", stuck.table.as_str());
    Stop::Failed(Error::new(ErrorKind::Database, message).with_remedy(remedy))
}
