//! `sexton plan`: a dry run now, and its report for people.
//!
//! It takes the way of every run (the same statements, the same cutoff, no writes), in a replica within this process
//! or wherever the job is taken, so that its answer is what a real run would find. What is easy to get wrong: it is
//! a run, and stands in the history as one, in mode `dry`.

use std::time::Duration;

use clap::Args;

use super::{
    Context, Exit,
    narrow::Narrow,
    oneshot::{self, Done},
    show,
};
use crate::error::Result;

/// What `plan` takes.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The job's name
    job: String,
    #[command(flatten)]
    narrow: Narrow,
}

pub(super) async fn plan(context: &Context, args: &PlanArgs) -> Result<Exit> {
    let mut narrow = args.narrow.clone();
    narrow.dry_run = true;
    let jobs = [args.job.clone()];
    let done = oneshot::these(context, &jobs, &narrow, Duration::ZERO, 1).await?;
    context.output.answer(&done, described)?;
    Ok(done.exit())
}

fn described(done: &Done) -> String {
    let mut text = String::new();
    for run in &done.runs {
        let verdict = match run.state.as_str() {
            "succeeded" => format!("A run of {} now would do this; nothing was written.\n", run.job),
            "refused" => format!("A run of {} now would be refused.\n", run.job),
            state => format!("The dry run of {} ended as {state}.\n", run.job),
        };
        text.push_str(&verdict);
        if let Some(error) = &run.error {
            text.push_str(&format!("{error}\n"));
        }
        if let Some(report) = &run.report {
            show::section(&mut text, "plan", report);
        }
        text.push_str(&format!("\n`sexton show {}` shows it again.\n", run.id));
    }
    for held in &done.not_run {
        text.push_str(&format!("{} cannot be planned now. {}\n", held.job, held.why));
    }
    text
}
