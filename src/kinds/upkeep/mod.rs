//! The kind `upkeep`: VACUUM, ANALYZE, REINDEX and indexes CONCURRENTLY, refreshed materialized views.
//!
//! It does, one after the other, what cannot run in a transaction and so cannot be fenced; each step is harmless twice, and
//! what is done is stored after each, so that a takeover goes on with the next. What is easy to get wrong: a CONCURRENTLY
//! statement that failed leaves an invalid index behind, which costs every write until somebody drops it. Debris comes
//! first, therefore.

mod params;
mod plan;
mod step;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use self::{
    params::Params,
    step::{Outcome, Step},
};
use crate::{
    Error, ErrorKind,
    kind::{Description, Kind, Mode, Nature, ParamError, Report, RunContext, Stop, Stopped},
};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upkeep;

/// The most steps that a report tells of one by one.
const TOLD: usize = 200;

/// What an upkeep remembers: what is done, by all attempts of the occurrence.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Done {
    /// Names of steps.
    steps: Vec<String>,
    /// What the report tells of them, the first [`TOLD`].
    told: Vec<Value>,
    /// What was passed over, and why.
    skipped: Vec<Value>,
    /// What failed, and how, in this attempt.
    #[serde(skip)]
    failed: Vec<Value>,
}

impl Kind for Upkeep {
    type Params = Params;

    fn name(&self) -> &'static str {
        "upkeep"
    }

    fn describe(&self) -> Description {
        Description {
            summary: "Vacuums, analyzes and reindexes tables that need it, builds indexes, refreshes materialized views, all concurrently.",
            nature: Nature::Database,
            params: params::TABLE,
            example: params::EXAMPLE,
        }
    }

    fn check(&self, params: &Params) -> Result<(), ParamError> {
        params.check()
    }

    async fn run(&self, context: &mut RunContext, params: Params) -> Result<Report, Stop> {
        let mut done = context.cursor::<Done>()?.unwrap_or_default();
        let steps = plan::steps(context, &params).await?;
        if context.mode() == Mode::Dry {
            let would: Vec<Value> = steps.iter().map(|step| step.name().into()).collect();
            return Ok(Report::new(Stopped::Drained).with("would", would));
        }
        let begun = Instant::now();
        let limit = params.time_limit(context.options())?;
        let mut stopped = Stopped::Drained;
        let total = steps.len();
        for (at, step) in steps.iter().enumerate() {
            // What is debris now was left after any earlier step of that name.
            if !matches!(step, Step::DropDebris { .. }) && done.steps.contains(&step.name()) {
                continue;
            }
            if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                stopped = Stopped::TimeLimit;
                break;
            }
            context.progress(&json!({ "step": step.name(), "at": at + 1, "of": total })).await?;
            carry_out(context, step, &mut done).await?;
        }
        conclude(stopped, done)
    }
}

/// Does one step, and stores that it is done. What failed is not stored: another attempt tries it again.
async fn carry_out(context: &mut RunContext, step: &Step, done: &mut Done) -> Result<(), Stop> {
    match step.carry_out(context).await {
        Ok(Outcome::Done(told)) => {
            if done.told.len() < TOLD {
                done.told.push(told);
            }
        }
        Ok(Outcome::Skipped(why)) => done.skipped.push(json!({ "step": step.name(), "why": why })),
        Err(Stop::Failed(error)) => {
            tracing::warn!(job = context.job(), step = step.name(), %error, "upkeep.step_failed");
            done.failed
                .push(json!({ "step": step.name(), "error": error.to_string(), "remedy": error.remedy() }));
            return Ok(());
        }
        Err(stop) => return Err(stop),
    }
    done.steps.push(step.name());
    context.checkpoint(done).await
}

fn conclude(stopped: Stopped, done: Done) -> Result<Report, Stop> {
    let count = done.steps.len() - done.skipped.len();
    if let Some(first) = done.failed.first() {
        let message = format!(
            "{} of {} steps failed; the first: {}: {}",
            done.failed.len(),
            done.failed.len() + done.steps.len(),
            text(first, "step"),
            text(first, "error")
        );
        let mut error = Error::new(ErrorKind::Database, message);
        if let Some(remedy) = first["remedy"].as_str() {
            error = error.with_remedy(remedy);
        }
        let mut details = Map::new();
        details.insert("failed".to_owned(), done.failed.into());
        details.insert("done".to_owned(), done.told.into());
        details.insert("skipped".to_owned(), done.skipped.into());
        return Err(Stop::Unexpected { error, details });
    }
    Ok(Report::new(stopped).with("steps", count).with("done", done.told).with("skipped", done.skipped))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
