//! `sexton runs`: the history.

use clap::Args;
use comfy_table::{Cell, Table};

use super::{Context, Exit, format, jobs::shortened, output};
use crate::{error::Result, protocol::operate::RunRow};

/// What `runs` takes.
#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// Of this job alone
    job: Option<String>,
    /// How many at the most
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    limit: u32,
}

pub(super) async fn list(context: &Context, args: &RunsArgs) -> Result<Exit> {
    let runs = context.global.operator().await?.runs(args.job.as_deref(), args.limit).await?;
    context.output.answer(&runs, |runs| described(runs))?;
    Ok(Exit::Done)
}

fn described(runs: &[RunRow]) -> String {
    if runs.is_empty() {
        return "Nothing ran yet. `sexton jobs` says what is due, `sexton why JOB` why it does not run;\n\
                `sexton run` starts a replica."
            .to_owned();
    }
    output::lines(&table(runs))
}

/// The runs as a table.
pub(super) fn table(runs: &[RunRow]) -> Table {
    let headers = ["RUN", "JOB", "STATE", "MODE", "STARTED", "TOOK", "ATTEMPT", "ROWS", "NOTE"];
    let mut table = output::table(&headers);
    for run in runs {
        let note = run.error.as_deref().or(run.stopped.as_deref()).unwrap_or_default();
        table.add_row(vec![
            Cell::new(run.id),
            Cell::new(&run.job),
            output::state_cell(&run.state),
            Cell::new(&run.mode),
            Cell::new(format::utc(run.started_at)),
            output::number_cell(format::span(run.duration)),
            output::number_cell(run.attempt.to_string()),
            output::number_cell(format::count(run.rows_done)),
            Cell::new(shortened(note, 60)),
        ]);
    }
    table
}
