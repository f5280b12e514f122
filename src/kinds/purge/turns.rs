//! Several targets in one job: one after the other has its turn, and what becomes of one does not stop the others.
//!
//! A turn is a purge of its own, with its own cutoff, guards and walk; budgets and the approval are the job's. What is
//! easy to get wrong: a run whose budget ends leaves the last ones waiting, so the next run begins with the one that got
//! least; and a run that is repeated since one target failed must not begin the others anew (see `among`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Meant, Turn,
    among::{Among, Ended, Share},
    budget::Budget,
    cursor::Cursor,
    cutoff,
    guard::{self, Approval},
    params::Params,
    report, rows_done_before,
    summary::{self, Line},
    walk::failed,
};
use crate::{
    kind::{ComeBack, Mode, Report, RunContext, Stop, Stopped},
    outside::Outside,
    statements,
};

/// What a job with several targets stores between two turns, or finds in the cursor of one.
#[derive(Serialize, Deserialize)]
struct Between {
    among: Among,
    #[serde(default, skip_serializing)]
    at: Option<Value>,
}

/// A table's name and oid; `None` where there is none.
type Table = Option<(String, u32)>;

/// A run of a job with several targets.
pub(super) async fn run(
    context: &mut RunContext,
    job: &Params,
    targets: &[Params],
    outside: &Outside,
) -> Result<Report, Stop> {
    let tables = tables(context).await?;
    if tables.len() != targets.len() {
        return Err(Stop::refused("the targets were not looked up when the job was saved", "save it again"));
    }
    let each: Vec<(&Params, Table)> = targets.iter().zip(tables).collect();
    match context.mode() {
        Mode::Dry => look(context, job, &each).await,
        Mode::Real => take_turns(context, job, &each, outside).await,
    }
}

async fn tables(context: &mut RunContext) -> Result<Vec<Table>, Stop> {
    let run = context.run_id();
    let rows = context.query_home(statements::PURGE_TARGETS, &[&run]).await?;
    let table = |row: &tokio_postgres::Row| Some((row.get::<_, Option<_>>(0)?, row.get::<_, Option<_>>(1)?));
    Ok(rows.iter().map(table).collect())
}

async fn look(context: &mut RunContext, job: &Params, each: &[(&Params, Table)]) -> Result<Report, Stop> {
    let mut lines = Vec::new();
    for (number, (params, table)) in each.iter().enumerate() {
        let mut turn = Turn {
            table: table.clone(),
            number: Some(number),
            approval: Approval { rows: None, alone: false },
            budget: Budget::new(job, context.options(), 0, context.now())?,
            done: 0,
            cursor: None,
            among: None,
            outside: Outside::default(),
        };
        let told = match context.work_in(params.database.as_deref()).await {
            Ok(()) => super::one(context, params, &mut turn).await,
            Err(stop) => Err(stop),
        };
        let line = match told {
            Ok(report) => Line::told(params, &report),
            Err(stop) => Line::ended(params, &ended(stop)?.0),
        };
        lines.push(line);
    }
    summary::of_dry_run(context, lines)
}

async fn take_turns(
    context: &mut RunContext,
    job: &Params,
    each: &[(&Params, Table)],
    outside: &Outside,
) -> Result<Report, Stop> {
    let total = rows_done_before(context).await?;
    let mut budget = Budget::new(job, context.options(), total, context.now())?;
    let stored = context.cursor::<Between>()?;
    if budget.spent(0) == Some(Stopped::WindowClosed) {
        return Ok(report::of_closed_window(job, context.now()));
    }
    let mut under_way = None;
    let mut among = match stored {
        Some(Between { among, at }) => {
            if at.is_some() {
                under_way = context.cursor::<Cursor>()?;
            }
            among
        }
        None => begin(context, each).await?,
    };
    among.try_again(total);
    let first = among.left.front().copied().unwrap_or_default();
    let mut lines: Vec<Option<Line>> = each.iter().map(|_| None).collect();
    let (mut stopped, mut come_back) = (Stopped::Drained, ComeBack::Regularly);
    while let Some(number) = among.left.front().copied() {
        let (Some((params, table)), Some(share)) = (each.get(number), among.of.get_mut(number)) else {
            return Err(failed("the stored cursor is of other targets"));
        };
        let before = rows_done(context).await?;
        let left = budget.less(before.saturating_sub(total));
        if let Some(spent) = left.clone().spent(0) {
            stopped = spent;
            break;
        }
        let cursor = under_way.take().or_else(|| share.cursor.take().map(|cursor| *cursor));
        let mut turn = Turn {
            table: table.clone(),
            number: Some(number),
            approval: Approval { rows: among.approved, alone: false },
            budget: left,
            done: share.rows,
            cursor,
            among: Some(among),
            outside: outside.clone(),
        };
        let told = match context.work_in(params.database.as_deref()).await {
            Ok(()) => {
                // That database may know of a batch more.
                turn.cursor = position(context, number)?.or(turn.cursor.take());
                super::one(context, params, &mut turn).await
            }
            Err(stop) => Err(stop),
        };
        among = turn.among.take().ok_or_else(|| failed("a turn lost its job"))?;
        let (end, line) = match told {
            Ok(report) if report.stopped == Stopped::Drained => (Ended::Drained, Line::told(params, &report)),
            Ok(report) => {
                (stopped, come_back) = (report.stopped, report.come_back);
                lines[number] = Some(Line::told(params, &report));
                break;
            }
            Err(stop) => {
                let (end, details) = ended(stop)?;
                let line = Line::ended(params, &end).with(details);
                (end, line)
            }
        };
        let deleted = rows_done(context).await?.saturating_sub(before);
        let cursor = match end {
            Ended::Failed(_) => position(context, number)?.or(turn.cursor),
            Ended::Drained | Ended::Refused { .. } => None,
        };
        lines[number] = Some(line.deleted(deleted, among.of[number].rows));
        among.left.pop_front();
        let share = &mut among.of[number];
        *share = Share { rows: share.rows + deleted, ended: Some(end), cursor: cursor.map(Box::new) };
        // Not where the turn was: that database's last cursor is one of this turn, and it may be lost.
        context.work_in(None).await?;
        context.checkpoint(&Between { among: among.clone(), at: None }).await?;
        context.query(statements::PURGE_PLANNER_RESET, &[]).await?;
    }
    let lines = lines.into_iter().enumerate().map(|(number, line)| {
        line.unwrap_or_else(|| Line::of_earlier(each[number].0, &among.of[number], stopped))
    });
    let lines: Vec<Line> = lines.collect();
    summary::of_run(context, lines, total, (stopped, come_back), first)
}

/// Who has the first turn, and whether what an operator approved is enough for all that need it.
async fn begin(context: &mut RunContext, each: &[(&Params, Table)]) -> Result<Among, Stop> {
    let run = context.run_id();
    let rows = context.query_home(statements::PURGE_TURN, &[&run]).await?;
    let first = rows.first().and_then(|row| usize::try_from(row.get::<_, i64>(0)).ok());
    let first = first.filter(|first| *first < each.len()).unwrap_or_default();
    let Some(approved) = context.approved_rows() else { return Ok(Among::new(each.len(), first, None)) };
    let mut needed = 0_u64;
    for (params, table) in each {
        match to_approve(context, params, table.clone()).await {
            Ok(rows) => needed = needed.saturating_add(rows),
            // Its own turn says so.
            Err(Stop::Refused { .. } | Stop::Failed(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    context.work_in(None).await?;
    let approved = (needed <= approved).then_some(approved);
    Ok(Among::new(each.len(), first, approved))
}

/// The rows of a target that its guards would refuse.
async fn to_approve(context: &mut RunContext, params: &Params, table: Table) -> Result<u64, Stop> {
    context.work_in(params.database.as_deref()).await?;
    let Meant { facts, scope, .. } = Meant::read(context, params, table).await?;
    let cutoff = cutoff(context, params, &scope).await?;
    let approval = Approval { rows: None, alone: false };
    let verdict = guard::judge(context, params, (&scope, &facts), cutoff.as_ref(), approval).await?;
    Ok(verdict.refusal.map_or(0, |_| verdict.eligible.rows))
}

/// How a turn ended that gave no report, and what was found out on the way; what ends the whole run is passed on.
fn ended(stop: Stop) -> Result<(Ended, serde_json::Map<String, Value>), Stop> {
    match stop {
        Stop::Refused { reason, remedy, details } => {
            let guarded = remedy.as_deref() == Some(guard::TOGETHER);
            let approve = details.get("eligible").and_then(Value::as_u64).filter(|_| guarded);
            Ok((Ended::Refused { reason, remedy, approve }, details))
        }
        Stop::Failed(error) => Ok((Ended::failed(&error), serde_json::Map::new())),
        stop => Err(stop),
    }
}

/// Where a target stood when it failed.
fn position(context: &RunContext, number: usize) -> Result<Option<Cursor>, Stop> {
    match context.cursor::<Between>()? {
        Some(Between { among, at: Some(_) }) if among.left.front() == Some(&number) => {
            let cursor = context.cursor::<Cursor>()?;
            Ok(cursor.map(|cursor| Cursor { among: None, ..cursor }))
        }
        _ => Ok(None),
    }
}

/// Rows that all attempts of the occurrence deleted so far, this one included.
async fn rows_done(context: &mut RunContext) -> Result<u64, Stop> {
    let run = context.run_id();
    Ok(guard::number(&context.query_home(statements::PURGE_DONE, &[&run]).await?))
}
