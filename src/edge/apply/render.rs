//! What apply did, for people: a line for each job, and below it what differs.
//!
//! What is easy to get wrong: the canonical form has durations in seconds; people read `6 hours`.

use std::fmt::Write;

use jiff::{
    SignedDuration, SpanRound, Unit,
    fmt::friendly::{Designator, Spacing, SpanPrinter},
};
use serde_json::Value;

use super::{Arming, Change, Field, JobOutcome, Outcome};

/// The columns that hold durations.
const DURATIONS: &[&str] = &[
    "max_lateness",
    "jitter",
    "timeout",
    "backoff",
    "backoff_max",
    "resume_after",
    "expect_success_every",
    "keep_runs_for",
];

/// The difference job by job, and a closing line. Plain text.
pub fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    let width = outcome.jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    for job in &outcome.jobs {
        let _ = writeln!(text, "{} {:<width$}  {}", sign(&job.change), job.name, sentence(job));
        for field in fields(&job.change) {
            let _ = writeln!(
                text,
                "    {}: {} → {}",
                field.path,
                shown(field, &field.old),
                shown(field, &field.new)
            );
        }
    }
    let _ = write!(text, "{}", closing(outcome));
    text
}

fn sign(change: &Change) -> char {
    match change {
        Change::Created => '+',
        Change::Changed { .. } | Change::Overwritten { .. } => '~',
        Change::LeftAlone { .. } => '!',
        Change::Removed | Change::Deleted => '-',
        Change::Unchanged | Change::StillRemoved | Change::Kept => ' ',
    }
}

fn fields(change: &Change) -> &[Field] {
    match change {
        Change::Changed { fields } | Change::Overwritten { fields } | Change::LeftAlone { fields, .. } => {
            fields
        }
        _ => &[],
    }
}

fn sentence(job: &JobOutcome) -> String {
    let mut text = match &job.change {
        Change::Created => "created".to_owned(),
        Change::Changed { .. } => "changed".to_owned(),
        Change::Unchanged => "unchanged".to_owned(),
        Change::LeftAlone { edited_by, edited_at, .. } => format!(
            "left alone: edited by hand since it was applied (by {}, {}); --overwrite puts the file's values in place",
            edited_by.as_deref().unwrap_or("somebody"),
            edited_at.as_deref().unwrap_or("some time ago")
        ),
        Change::Overwritten { .. } => "overwritten: the edit by hand is gone".to_owned(),
        Change::Removed => "gone from the file: paused and marked; --prune deletes it".to_owned(),
        Change::StillRemoved => "gone from the file before, and paused; --prune deletes it".to_owned(),
        Change::Kept => "gone from the file, but resumed by an operator: it stays".to_owned(),
        Change::Deleted => "gone from the file: deleted; its history stays".to_owned(),
    };
    match &job.arming {
        Some(Arming::Armed) => text += ", armed",
        Some(Arming::StaysDisarmed { by }) => {
            let _ = write!(text, "; not armed, since {by} disarmed it by hand: sexton arm {}", job.name);
        }
        None => {}
    }
    if job.taken_back {
        text += ", back in the file";
    }
    if job.due {
        text += ", due now (at deploy)";
    }
    text
}

fn closing(outcome: &Outcome) -> String {
    let count = |wanted: fn(&Change) -> bool| outcome.jobs.iter().filter(|job| wanted(&job.change)).count();
    let counts = [
        (count(|change| matches!(change, Change::Created)), "created"),
        (count(|change| matches!(change, Change::Changed { .. })), "changed"),
        (count(|change| matches!(change, Change::Overwritten { .. })), "overwritten"),
        (count(|change| matches!(change, Change::Unchanged)), "unchanged"),
        (outcome.left_alone(), "left alone"),
        (count(|change| matches!(change, Change::Removed)), "gone"),
        (count(|change| matches!(change, Change::Deleted)), "deleted"),
    ];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let what = if parts.is_empty() { "no jobs".to_owned() } else { parts.join(", ") };
    let dry = if outcome.committed { "" } else { "; nothing was written" };
    format!("{}: {what}{dry}\n", outcome.app)
}

fn shown(field: &Field, value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        value if DURATIONS.contains(&field.path.as_str()) => {
            value.as_f64().map_or(value.to_string(), duration)
        }
        value => value.to_string(),
    }
}

fn duration(seconds: f64) -> String {
    let printer =
        SpanPrinter::new().designator(Designator::Verbose).spacing(Spacing::BetweenUnitsAndDesignators);
    let round = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|exact| jiff::Span::try_from(exact).ok())
        .and_then(|span| span.round(round).ok())
        .map_or_else(|| format!("{seconds} seconds"), |span| printer.span_to_string(&span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration(21600.0), "6 hours");
        assert_eq!(duration(90061.0), "1 day 1 hour 1 minute 1 second");
        assert_eq!(duration(0.0), "0 seconds");
    }
}
