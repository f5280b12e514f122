//! The kind `sql`: one statement of an author's own, or one that is repeated until it affects nothing.
//!
//! It is no script: one statement, by the extended protocol, in a transaction that ends with the fence. What is easy to
//! get wrong: the statement is somebody else's code on the session that holds the job. It runs in a function with the
//! rights of its role, and what it may have left in the session is put back before the fence.

mod dry;
mod expect;
mod params;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::params::{Params, Repeat};
use crate::kind::{
    Description, Kind, Mode, Nature, ParamError, Report, Rights, RunContext, Stop, Stopped,
    trampoline::{self, Answer, Trampoline},
};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statement;

/// The parameter that the statement stands in.
const PARAM: &str = "statement";
/// How often in a row a statement may meet contention before the run fails.
const PATIENCE: u32 = 10;

/// What a run remembers: how much was done, by all attempts of the occurrence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// Rows that the statement gave or affected.
    rows: u64,
    /// How often it was executed.
    times: u64,
}

impl Kind for Statement {
    type Params = Params;

    fn name(&self) -> &'static str {
        "sql"
    }

    fn rights(&self) -> Rights {
        Rights::OfJob
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Executes one SQL statement, or repeats one until it affects nothing; also as a health check.",
            nature: Nature::Destructive,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let trampoline = Trampoline::prepare(context, PARAM, &params.statement).await?;
        if trampoline.gives_rows() && params.repeats_a_with() {
            let reason = "params.statement: a statement that is repeated must tell what it affects";
            return Err(Stop::refused(reason, "end it with the UPDATE or DELETE itself, without RETURNING"));
        }
        if context.mode() == Mode::Dry {
            return dry::run(context, &params, &trampoline).await;
        }
        match params.repeat {
            Repeat::Once => once(context, &params, &trampoline).await,
            Repeat::UntilNothing => repeat(context, &params, &trampoline).await,
        }
    }
}

/// Executes the statement, and holds the answer against what is expected of it.
async fn once(context: &mut RunContext, params: &Params, trampoline: &Trampoline) -> Result<Report, Stop> {
    if let Some(done) = context.cursor::<Cursor>()? {
        // An attempt that was lost right after its commit.
        return Ok(report(Stopped::Drained, &done, trampoline).with("done_by", "an earlier attempt"));
    }
    let answer = patiently(context, params, trampoline, Cursor::default()).await?.0;
    let done = Cursor { rows: answer.counted, times: 1 };
    let report = report(Stopped::Drained, &done, trampoline);
    Ok(if trampoline.gives_rows() { report.with("answer", answer.kept) } else { report })
}

/// Executes the statement again and again, each time with the fence, until it affects nothing.
async fn repeat(context: &mut RunContext, params: &Params, trampoline: &Trampoline) -> Result<Report, Stop> {
    let begun = Instant::now();
    let mut done = context.cursor::<Cursor>()?.unwrap_or_default();
    let limit_rows = [params.limit_rows, context.options().limit_rows].into_iter().flatten().min();
    let time_limit = params.time_limit(context.options())?;
    loop {
        if limit_rows.is_some_and(|limit| done.rows >= limit) {
            return Ok(report(Stopped::LimitRows, &done, trampoline));
        }
        if time_limit.is_some_and(|limit| begun.elapsed() >= limit) {
            return Ok(report(Stopped::TimeLimit, &done, trampoline));
        }
        let (answer, took) = patiently(context, params, trampoline, done).await?;
        done = Cursor { rows: done.rows + answer.counted, times: done.times + 1 };
        if answer.counted == 0 {
            return Ok(report(Stopped::Drained, &done, trampoline));
        }
        context.progress(&done).await?;
        context.rest(params.pacing.rest_after(took)).await?;
    }
}

/// One execution; one that met contention is tried again.
async fn patiently(
    context: &mut RunContext,
    params: &Params,
    trampoline: &Trampoline,
    done: Cursor,
) -> Result<(Answer, Duration), Stop> {
    let mut tries = 1;
    loop {
        let begun = Instant::now();
        match execute(context, params, trampoline, done).await {
            Ok(answer) => return Ok((answer, begun.elapsed())),
            // After a failure under another role the session is not to be trusted again: a new attempt gets a new one.
            Err(stop) if tries < PATIENCE && !trampoline.is_foreign() && is_contention(&stop) => tries += 1,
            Err(stop) => return Err(trampoline::explain(stop, PARAM)),
        }
        context.rest(Duration::from_millis(200)).await?;
    }
}

async fn execute(
    context: &mut RunContext,
    params: &Params,
    trampoline: &Trampoline,
    done: Cursor,
) -> Result<Answer, Stop> {
    let mut watch = context.watch();
    let mut transaction = context.begin().await?;
    trampoline.install(&mut transaction, params.timeouts()).await?;
    let answer = watch.over(trampoline.call(&mut transaction, params.keep_rows)).await??;
    trampoline.discard(&mut transaction).await?;
    if let Some(expect) = &params.expect {
        expect.judge(&answer, trampoline.gives_rows())?;
    }
    let affected = if trampoline.gives_rows() && !params.writes() { 0 } else { answer.counted };
    let cursor = Cursor { rows: done.rows + answer.counted, times: done.times + 1 };
    transaction.commit(affected, &cursor).await?;
    Ok(answer)
}

fn report(stopped: Stopped, done: &Cursor, trampoline: &Trampoline) -> Report {
    Report::new(stopped).with("role", trampoline.role()).with("rows", done.rows).with("times", done.times)
}

/// A lock that was not to be had, a deadlock, a conflict of serializable transactions.
fn is_contention(stop: &Stop) -> bool {
    matches!(stop, Stop::Failed(error) if matches!(error.sqlstate(), Some("55P03" | "40001" | "40P01")))
}
