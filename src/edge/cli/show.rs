//! `sexton show`: one job or one run in full, its report included.

use std::fmt::Write;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Context, Exit, format};
use crate::{
    error::Result,
    protocol::operate::{HoldRow, JobDefinition, JobRow, RunRow},
};

/// What `show` takes.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A job's name, or a run's id
    #[arg(value_name = "JOB|RUN")]
    what: String,
}

pub(super) async fn show(context: &Context, args: &ShowArgs) -> Result<Exit> {
    let operator = context.global.operator().await?;
    if let Ok(id) = args.what.parse::<Uuid>() {
        let run = operator.run(id).await?;
        context.output.answer(&run, run_text)?;
        return Ok(Exit::Done);
    }
    let (row, definition) = operator.job(&args.what).await?;
    let why = operator.why(&args.what).await?;
    let runs = operator.runs(Some(&args.what), 1).await?;
    let holds = operator.holds(&args.what).await?;
    let answer = serde_json::json!({
        "job": merged(&row, &definition), "why": why, "holds": holds, "last_run": runs.first(),
    });
    context.output.answer(&answer, |_| job_text(&row, &definition, &why, &holds, runs.first()))?;
    Ok(Exit::Done)
}

/// The columns of the view and of the table, as one object.
fn merged(row: &JobRow, definition: &JobDefinition) -> Value {
    let object = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let mut all = object(serde_json::to_value(definition));
    all.extend(object(serde_json::to_value(row)));
    Value::Object(all)
}

fn job_text(
    row: &JobRow,
    job: &JobDefinition,
    why: &str,
    holds: &[HoldRow],
    last: Option<&RunRow>,
) -> String {
    let mut text = format!("{why}\n\n");
    let zone = &job.time_zone;
    let mut facts = Facts::default();
    facts.add("job", &job.name).add("app", &job.app).add("kind", &job.kind).add("state", &row.state);
    facts.add("armed", &switch(row.armed, job.armed_by.as_deref(), job.armed_at, row.now));
    facts.maybe(
        "paused",
        job.paused_by.as_ref().map(|by| {
            let reason = job.pause_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let until = job
                .paused_until
                .map(|at| format!(", until {}", format::instant(at, zone)))
                .unwrap_or_default();
            format!("by {by}{reason}{until}")
        }),
    );
    facts.maybe(
        "approved",
        job.approved_rows.map(|rows| format!("{} rows, for one run", format::count(rows))),
    );
    facts.add("schedule", &format!("{} {zone}", job.schedule));
    facts.maybe(
        "next due",
        job.due_at.map(|at| format!("{} ({})", format::instant(at, zone), format::relative(at, row.now))),
    );
    facts.maybe("target", job.target_name.clone());
    let life = last.filter(|run| run.revision == row.revision).and_then(longest_life);
    facts.maybe("rows live", life.map(|life| format!("up to {life}")));
    facts.maybe("eligible", backlog(row));
    facts.maybe("invalid", job.invalid_reason.clone());
    facts.add("missed", &job.missed).maybe("max lateness", job.max_lateness.clone());
    facts.add("jitter", &job.jitter).add("timeout", &job.timeout);
    facts.add(
        "attempts",
        &format!("{} at the most, {} to {} apart", job.max_attempts, job.backoff, job.backoff_max),
    );
    facts.maybe("run as", job.run_as.clone()).maybe("database", job.database.clone());
    facts.maybe("search path", job.search_path.clone());
    facts.add(
        "revision",
        &format!("{}, by {} {}", job.revision, job.edited_by, format::relative(job.edited_at, row.now)),
    );
    facts.maybe(
        "removed",
        row.removed_at.map(|at| format!("from its file {}", format::relative(at, row.now))),
    );
    text.push_str(&facts.0);
    section(&mut text, "params", &job.params);
    section(&mut text, "inputs", &job.inputs);
    if !holds.is_empty() {
        text.push_str("\nholds\n");
        for hold in holds {
            let HoldRow { id, database, table_name: table, predicate, reason, held_by, .. } = hold;
            let table = database.as_ref().map_or_else(|| table.clone(), |name| format!("{table} in {name}"));
            let since = format::relative(hold.held_at, row.now);
            let _ = writeln!(text, "  {id}: {table} where {predicate}, by {held_by} {since}: {reason}");
        }
    }
    if let Some(run) = last {
        text.push_str("\nlast run\n");
        text.extend(run_text(run).lines().map(|line| format!("  {line}\n")));
    }
    text
}

/// The longest time that a row of a purge can live, as a run reported it.
fn longest_life(run: &RunRow) -> Option<&str> {
    run.report.as_ref()?.pointer("/longest_life/text")?.as_str()
}

/// What waits for the next run of a purge, and whether it keeps up.
fn backlog(row: &JobRow) -> Option<String> {
    let mut text = format!("about {} rows", format::count(row.eligible?));
    if let (Some(oldest), Some(by)) = (&row.oldest_overdue, row.overdue_by) {
        let _ = write!(text, ", the oldest of {oldest}, overdue by {}", format::span(by));
    }
    if let (Some(arrival), Some(drain)) = (row.arrival_per_day, row.drain_per_day) {
        let (arrival, drain) = (format::count(arrival), format::count(drain));
        let _ = write!(text, "; {arrival} a day come of age, {drain} a day are deleted");
    }
    if row.catches_up == Some(false) {
        text.push_str(": it will never catch up");
    }
    Some(text)
}

fn switch(on: bool, by: Option<&str>, at: Option<Timestamp>, now: Timestamp) -> String {
    match (on, by, at) {
        (true, Some(by), Some(at)) => format!("yes, by {by} {}", format::relative(at, now)),
        (true, ..) => "yes".to_owned(),
        (false, Some(_), _) => "no: it was edited since".to_owned(),
        (false, ..) => "no".to_owned(),
    }
}

/// A run in full.
fn run_text(run: &RunRow) -> String {
    let mut facts = Facts::default();
    let mode = if run.mode == "dry" { " (dry run: nothing was written)" } else { "" };
    facts.add("run", &run.id.to_string()).add("job", &run.job).add("state", &format!("{}{mode}", run.state));
    facts.maybe("error", run.error.clone());
    facts.add(
        "occurrence",
        &format!("{} ({}, {} late)", format::utc(run.occurrence), run.origin, format::span(run.late_by)),
    );
    facts.add("started", &format!("{}, took {}", format::utc(run.started_at), format::span(run.duration)));
    facts.add("attempt", &run.attempt.to_string());
    facts.add("rows", &format!("{} in {} batches", format::count(run.rows_done), format::count(run.batches)));
    facts.maybe("stands for", (run.coalesced > 0).then(|| format!("{} missed runs", run.coalesced)));
    facts.add("holder", &format!("{}, {}", run.holder, run.program));
    facts.add("token", &format!("{}.{} (revision {})", run.epoch, run.version, run.revision));
    let mut text = facts.0;
    section(&mut text, "options", &run.options);
    section(&mut text, "inputs", &run.inputs);
    if let Some(report) = &run.report {
        section(&mut text, "report", report);
    }
    text
}

/// Lines of a name and what it is, in two columns.
#[derive(Default)]
struct Facts(String);

impl Facts {
    fn add(&mut self, name: &str, value: &str) -> &mut Self {
        let _ = writeln!(self.0, "{name:<13}{value}");
        self
    }

    fn maybe(&mut self, name: &str, value: Option<String>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, &value);
        }
        self
    }
}

/// A JSON value under a heading, a line a leaf; nothing if it is empty.
pub(super) fn section(text: &mut String, heading: &str, value: &Value) {
    if value.as_object().is_some_and(Map::is_empty) || value.is_null() {
        return;
    }
    let _ = writeln!(text, "\n{heading}");
    indented(text, value, 2);
}

fn indented(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        let _ = writeln!(text, "{:depth$}{name}", "");
                        indented(text, value, depth + 2);
                    }
                    Value::Array(items) if items.iter().any(Value::is_object) => {
                        let _ = writeln!(text, "{:depth$}{name}", "");
                        for item in items {
                            let _ = writeln!(text, "{:depth$}  -", "");
                            indented(text, item, depth + 4);
                        }
                    }
                    _ => {
                        let width = 24_usize.saturating_sub(depth);
                        let _ = writeln!(text, "{:depth$}{name:<width$} {}", "", leaf(value));
                    }
                }
            }
        }
        other => {
            let _ = writeln!(text, "{:depth$}{}", "", leaf(other));
        }
    }
}

/// A value as people write it: strings without quotes, whole numbers grouped.
pub(super) fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.to_string(), format::count),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(leaf).collect::<Vec<_>>().join(", "),
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_lines() {
        let report = serde_json::json!({"stopped": "drained", "rows": 1200000, "guards": {"refuse_above": null}, "tables": [{"name": "a"}]});
        let mut text = String::new();
        section(&mut text, "report", &report);
        assert!(text.contains("rows                   1,200,000\n"), "{text}");
        assert!(text.contains("  guards\n    refuse_above         -\n"), "{text}");
        assert!(text.contains("  tables\n    -\n      name               a\n"), "{text}");
    }
}
