//! `sexton jobs` and `sexton why`: how things stand.

use clap::Args;
use comfy_table::Cell;

use super::{Context, Exit, format, output};
use crate::{error::Result, protocol::operate::JobRow};

/// What `why` takes.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The job's name
    job: String,
}

pub(super) async fn list(context: &Context) -> Result<Exit> {
    let jobs = context.global.operator().await?.jobs().await?;
    context.output.answer(&jobs, |jobs| described(jobs, context))?;
    Ok(Exit::Done)
}

pub(super) async fn why(context: &Context, args: &WhyArgs) -> Result<Exit> {
    let why = context.global.operator().await?.why(&args.job).await?;
    let answer = serde_json::json!({ "job": args.job, "why": why });
    context.output.answer(&answer, |_| why.clone())?;
    Ok(Exit::Done)
}

fn described(jobs: &Vec<JobRow>, context: &Context) -> String {
    if jobs.is_empty() {
        return "There are no jobs yet.\n\
                `sexton init` looks at the database and proposes a sexton.toml, `sexton apply` makes its jobs.\n\
                Or in SQL: SELECT sexton.schedule_purge('audit_log', 'created_at', '30 days');"
            .to_owned();
    }
    // Where no job has a backlog, or works elsewhere, nobody misses the column.
    let backlog = jobs.iter().any(|job| job.eligible.is_some_and(|rows| rows > 0));
    let elsewhere = jobs.iter().any(|job| job.database.is_some());
    let mut heads = vec!["JOB", "KIND", "STATE", "ARMED", "NEXT DUE", "", "LAST", "ROWS", "NOTE"];
    if backlog {
        heads.insert(8, "ELIGIBLE");
    }
    if elsewhere {
        heads.insert(2, "DATABASE");
    }
    let mut table = output::table(&heads);
    for job in jobs {
        let (local, away) = next_due(job);
        let mut cells = vec![
            Cell::new(&job.name),
            Cell::new(&job.kind),
            output::state_cell(&job.state),
            Cell::new(armed(job, context)),
            Cell::new(local),
            Cell::new(away),
            last(job),
            output::number_cell(job.last_rows.map(format::count).unwrap_or_default()),
            Cell::new(note(job, context)),
        ];
        if backlog {
            cells.insert(8, output::number_cell(job.eligible.map(format::count).unwrap_or_default()));
        }
        if elsewhere {
            cells.insert(2, Cell::new(job.database.as_deref().unwrap_or("-")));
        }
        table.add_row(cells);
    }
    output::lines(&table)
}

/// Kinds that do not delete need no arming; one that this program does not know says what the row says.
fn armed(job: &JobRow, context: &Context) -> &'static str {
    let destructive = context
        .registry
        .get(&job.kind)
        .is_none_or(|kind| kind.describe().nature == crate::kind::Nature::Destructive);
    match (destructive, job.armed) {
        (false, _) => "-",
        (true, true) => "yes",
        (true, false) => "no",
    }
}

fn next_due(job: &JobRow) -> (String, String) {
    let Some(at) = job.next_due_at else { return ("-".to_owned(), String::new()) };
    let local = format::instant(at, &job.time_zone);
    // Seconds are noise but for what is about to happen.
    let local = local.replacen(":00 ", " ", 1);
    (local, format::relative(at, job.now))
}

fn last(job: &JobRow) -> Cell {
    match (&job.last_outcome, job.last_mode.as_deref()) {
        (None, _) => Cell::new("never ran"),
        (Some(outcome), Some("dry")) if outcome == "succeeded" => Cell::new("dry run"),
        (Some(outcome), _) => output::state_cell(outcome),
    }
}

/// The one thing to know of a job that does not simply go on.
fn note(job: &JobRow, context: &Context) -> String {
    let hint = match job.state.as_str() {
        "paused" => format!("`sexton why {}`", job.name),
        "invalid" => job.last_error.clone().unwrap_or_default(),
        _ if job.removed_at.is_some() => "gone from its file".to_owned(),
        "retrying" => job.last_error.clone().unwrap_or_default(),
        _ if matches!(job.last_outcome.as_deref(), Some("failed" | "timed_out" | "refused" | "lost")) => {
            job.last_error.clone().unwrap_or_default()
        }
        _ if job.catches_up == Some(false) => "never catches up".to_owned(),
        _ if armed(job, context) == "no" => "only reports until armed".to_owned(),
        _ => job.last_stopped.clone().filter(|why| why != "drained").unwrap_or_default(),
    };
    shortened(&hint, 60)
}

/// The first line, cut to at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        return line.to_owned();
    }
    line.chars().take(most - 1).chain(['…']).collect()
}
