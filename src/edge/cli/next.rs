//! `sexton next`: when a job comes.
//!
//! What is easy to get wrong: the regular instants, the jitter and a retry are three things. Instants are computed here as
//! a replica computes them; what is due ahead of them (a retry, run now) stands in the row.

use clap::Args;
use comfy_table::Cell;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Context, Exit, format, output};
use crate::{
    error::{Error, Result},
    protocol::{
        operate::ScheduleRow,
        schedule::{Schedule, Seed},
    },
};

/// What `next` takes.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    /// The job's name
    job: String,
    /// How many instants
    #[arg(short = 'n', long, default_value_t = 5, value_name = "COUNT")]
    count: u16,
}

/// An instant to come.
#[derive(Debug, PartialEq, Serialize)]
struct Coming {
    /// The occurrence.
    at: Timestamp,
    /// When it is tried: later by the job's share of the jitter.
    due_at: Timestamp,
    /// In the job's zone.
    local: String,
    /// `schedule`, `retry`, `run_now`, `resume`, `start`, `deploy`.
    origin: String,
}

pub(super) async fn next(context: &Context, args: &NextArgs) -> Result<Exit> {
    let row = context.global.operator().await?.schedule(&args.job).await?;
    let seed = Seed::new(row.install_id, &args.job);
    let schedule = Schedule::parse(&row.schedule, Some(&row.time_zone), &seed).map_err(|error| {
        Error::invalid(error.message())
            .about(format!("job {}: schedule", args.job))
            .with_remedy(error.remedy().unwrap_or("Edit the job's schedule.").to_owned())
    })?;
    let coming = coming(&row, &schedule, &seed, usize::from(args.count));
    context.output.answer(&coming, |coming| described(&row, &schedule, coming))?;
    Ok(Exit::Done)
}

fn coming(row: &ScheduleRow, schedule: &Schedule, seed: &Seed, count: usize) -> Vec<Coming> {
    let jitter = seed.jitter(SignedDuration::try_from_secs_f64(row.jitter).unwrap_or(SignedDuration::ZERO));
    let of = |at: Timestamp, due_at: Timestamp, origin: &str| Coming {
        at,
        due_at,
        local: format::instant(at, &row.time_zone),
        origin: origin.to_owned(),
    };
    let extra = match (&row.origin, row.due_at) {
        (Some(_), Some(due_at)) if row.attempt > 0 => Some(of(due_at, due_at, "retry")),
        (Some(origin), Some(due_at)) if origin != "schedule" => Some(of(due_at, due_at, origin)),
        _ => None,
    };
    // The planned instant carries the grid of an "every"; what follows is counted from it.
    let planned = if row.planned { row.scheduled_at } else { schedule.first(row.now) };
    let first = planned
        .filter(|_| extra.as_ref().is_none_or(|extra| extra.origin != "retry" || planned > Some(extra.at)));
    let following = planned.into_iter().flat_map(|at| schedule.upcoming(at, count));
    let regular = first.into_iter().chain(following);
    let regular = regular.map(|at| of(at, at.checked_add(jitter).unwrap_or(at), "schedule"));
    // Of "after 45m" only the first is known: the others depend on how long runs take.
    let known = if row.schedule.trim_start().starts_with("after") { 1 } else { count };
    extra.into_iter().chain(regular.take(known)).take(count).collect()
}

fn described(row: &ScheduleRow, schedule: &Schedule, coming: &[Coming]) -> String {
    let mut text = format!("{schedule}: {}\n", schedule.describe());
    if row.paused {
        text.push_str("The job is paused: none of these starts it.\n");
    }
    if let Some(reason) = &row.invalid_reason {
        text.push_str(&format!("The job is invalid: {reason}\n"));
    }
    if coming.is_empty() {
        text.push_str("Nothing is due by itself; `sexton run-now` makes it due.\n");
        return text;
    }
    let mut table = output::table(&["LOCAL", "UTC", "", "FROM"]);
    for instant in coming {
        table.add_row(vec![
            Cell::new(&instant.local),
            Cell::new(format::utc(instant.at)),
            Cell::new(format::relative(instant.due_at, row.now)),
            Cell::new(&instant.origin),
        ]);
    }
    text + "\n" + &output::lines(&table)
}
