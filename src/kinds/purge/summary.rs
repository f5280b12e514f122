//! The report of a job with several targets: a line for each, and what they add up to.
//!
//! A line has all that a purge of its table alone would report, its table and its `outcome`. What is easy to get wrong: a
//! sum over targets is only known if each of them is, so the job keeps up if all of its targets do.

use serde_json::{Map, Value, json};

use super::{
    among::{Ended, Share, next_turn},
    guard,
    params::Params,
};
use crate::{
    error::{Error, ErrorKind},
    kind::{ComeBack, Report, RunContext, Stop, Stopped},
};

/// What is said of one target.
#[derive(Clone, Debug)]
pub struct Line(Map<String, Value>);

impl Line {
    /// What it reported.
    pub fn told(params: &Params, report: &Report) -> Self {
        let mut line = head(params, "succeeded");
        line.insert("stopped".to_owned(), json!(report.stopped));
        line.extend(report.details.clone());
        Line(line)
    }

    /// It was refused, or failed.
    pub fn ended(params: &Params, end: &Ended) -> Self {
        let mut line = head(params, end.outcome());
        let told = match end {
            Ended::Drained => json!({}),
            Ended::Refused { reason, remedy, .. } => {
                json!({"deleted": 0, "reason": reason, "remedy": remedy})
            }
            Ended::Failed(error) => json!({"error": error}),
        };
        if let Value::Object(told) = told {
            line.extend(told.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Line(line)
    }

    /// It had no turn in this attempt.
    pub fn of_earlier(params: &Params, share: &Share, stopped: Stopped) -> Self {
        let Some(end) = &share.ended else {
            let mut line = head(params, "waiting");
            line.insert("stopped".to_owned(), json!(stopped));
            return Line(line).deleted(0, share.rows);
        };
        Line::ended(params, end).deleted(0, share.rows)
    }

    /// With what else was found out.
    #[must_use]
    pub fn with(mut self, details: Map<String, Value>) -> Self {
        self.0.extend(details);
        self
    }

    /// With the rows that went in this attempt, and in earlier ones.
    #[must_use]
    pub fn deleted(mut self, rows: u64, before: u64) -> Self {
        self.0.insert("deleted".to_owned(), json!(rows));
        if before > 0 {
            self.0.insert("deleted_before".to_owned(), json!(before));
        }
        self
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is(&self, outcome: &str) -> bool {
        self.text("outcome") == outcome
    }
}

fn head(params: &Params, outcome: &str) -> Map<String, Value> {
    Map::from_iter([
        ("database".to_owned(), json!(params.database)),
        ("table".to_owned(), json!(params.table)),
        ("where".to_owned(), json!(params.predicate)),
        ("outcome".to_owned(), json!(outcome)),
    ])
    .into_iter()
    .filter(|(_, value)| !value.is_null())
    .collect()
}

/// The end of a run of which `before` rows went in earlier attempts, and in which target `first` had the first turn.
///
/// # Errors
/// A failure if a target failed; else a refusal if one was refused.
pub fn of_run(
    context: &RunContext,
    lines: Vec<Line>,
    before: u64,
    (stopped, come_back): (Stopped, ComeBack),
    first: usize,
) -> Result<Report, Stop> {
    let sum = |name: &str| lines.iter().map(|line| line.number(name)).sum::<u64>();
    let cut = |line: &Line| match line.text("stopped") {
        "" | "drained" => None,
        _ => Some(line.number("deleted") + line.number("deleted_before")),
    };
    let next = match stopped {
        Stopped::Drained => Some(0),
        _ => next_turn(&lines.iter().map(cut).collect::<Vec<_>>(), first),
    };
    let details = json!({
        "dry": false, "deleted": sum("deleted"), "deleted_before": (before > 0).then_some(before),
        "eligible": sum("eligible"), "batches": sum("batches"), "skipped_locked": sum("skipped_locked"),
        "archived": lines.iter().any(|line| line.0.contains_key("archived")).then(|| sum("archived")),
        "backlog": backlog(&lines), "longest_life": longest_life(&lines),
        "as_of": context.now().to_string(), "next_target": next, "targets": listed(&lines),
    });
    let mut report = filled(Report::new(stopped), details);
    report.come_back = come_back;
    settled(context, &lines, report)
}

/// The report of a dry run.
///
/// # Errors
/// A failure if a target could not be looked at.
pub fn of_dry_run(context: &RunContext, mut lines: Vec<Line>) -> Result<Report, Stop> {
    let mut refusals = Vec::new();
    let mut to_approve = 0;
    for line in &mut lines {
        // What would have kept it from being looked at stands in the line as what refuses it.
        if line.is("refused") {
            let refusal = json!({"reason": line.0.get("reason"), "remedy": line.0.get("remedy")});
            line.0.insert("would_refuse".to_owned(), json!([refusal]));
            line.0.insert("eligible".to_owned(), json!(0));
        }
        let rows = line.number("eligible");
        let table = line.text("table").to_owned();
        for refusal in line.0.get("would_refuse").and_then(Value::as_array).into_iter().flatten() {
            if refusal["remedy"] == guard::TOGETHER {
                to_approve += rows;
            }
            let reason = refusal["reason"].as_str().unwrap_or_default();
            refusals.push((format!("{table}: {reason}"), refusal["remedy"].clone()));
        }
    }
    let enough = context.approved_rows().is_some_and(|approved| to_approve <= approved);
    refusals.retain(|(_, remedy)| !(enough && *remedy == guard::TOGETHER));
    if enough {
        let by_guard = |refusal: &Value| refusal["remedy"] == guard::TOGETHER;
        for refused in lines.iter_mut().filter_map(|line| line.0.get_mut("would_refuse")?.as_array_mut()) {
            refused.retain(|refusal| !by_guard(refusal));
        }
    }
    let remedy = guard::remedy(context.job(), to_approve);
    let refusals: Vec<Value> = refusals
        .into_iter()
        .map(|(reason, told)| {
            let told = if told == guard::TOGETHER { json!(remedy) } else { told };
            json!({"reason": reason, "remedy": told})
        })
        .collect();
    let sum = |name: &str| lines.iter().map(|line| line.number(name)).sum::<u64>();
    let details = json!({
        "dry": true, "deleted": 0, "eligible": sum("eligible"), "kept": sum("kept"), "table_rows": sum("table_rows"),
        "would_refuse": refusals, "backlog": backlog(&lines), "longest_life": longest_life(&lines),
        "as_of": context.now().to_string(), "targets": listed(&lines),
    });
    let lines: Vec<Line> = lines.into_iter().filter(|line| line.is("failed")).collect();
    settled(context, &lines, filled(Report::new(Stopped::Drained), details))
}

/// The report, or the failure or refusal that it amounts to.
fn settled(context: &RunContext, lines: &[Line], report: Report) -> Result<Report, Stop> {
    let all = report.details.get("targets").and_then(Value::as_array).map_or(0, Vec::len);
    let of = |outcome: &str, what: &str| -> (usize, String) {
        let told: Vec<String> = lines
            .iter()
            .filter(|line| line.is(outcome))
            .map(|line| format!("{}: {}", line.text("table"), line.text(what)))
            .collect();
        (told.len(), told.join("; "))
    };
    let (failed, errors) = of("failed", "error");
    let mut details = report.details.clone();
    if failed > 0 {
        details.insert("stopped".to_owned(), json!("failed"));
        let message = format!("{failed} of {all} targets failed: {errors}");
        return Err(Stop::Unexpected { error: Error::new(ErrorKind::Database, message), details });
    }
    let (refused, reasons) = of("refused", "reason");
    if refused == 0 {
        return Ok(report);
    }
    let refused_lines = || lines.iter().filter(|line| line.is("refused"));
    let guarded = |line: &&Line| line.text("remedy") == guard::TOGETHER;
    let approve: u64 = refused_lines().filter(guarded).map(|line| line.number("eligible")).sum();
    let mut remedies: Vec<String> = refused_lines()
        .filter(|line| !guarded(line))
        .map(|line| line.text("remedy").to_owned())
        .filter(|remedy| !remedy.is_empty())
        .collect();
    if refused_lines().any(|line| guarded(&line)) {
        remedies.push(guard::remedy(context.job(), approve));
    }
    let remedy = (!remedies.is_empty()).then(|| remedies.join("; "));
    Err(Stop::Refused {
        reason: format!("{refused} of {all} targets were refused: {reasons}"),
        remedy,
        details,
    })
}

/// What all of them leave; `null` where none says.
fn backlog(lines: &[Line]) -> Value {
    let each: Vec<&Value> = lines.iter().filter_map(|line| line.0.get("backlog")).collect();
    if each.is_empty() {
        return Value::Null;
    }
    let known = |name: &str| -> Option<u64> {
        (each.len() == lines.len()).then(|| each.iter().map(|told| told[name].as_u64()).sum())?
    };
    let rows: u64 = each.iter().filter_map(|told| told["rows"].as_u64()).sum();
    let catches: Vec<Option<bool>> =
        lines.iter().map(|line| line.0.get("backlog")?["catches_up"].as_bool()).collect();
    let catches_up = match () {
        () if catches.contains(&Some(false)) => Some(false),
        () if catches.contains(&None) => None,
        () => Some(true),
    };
    let oldest = each.iter().max_by_key(|told| told["overdue_s"].as_u64());
    json!({
        "rows": rows, "counted": each.len() == lines.len() && each.iter().all(|told| told["counted"] == true),
        "oldest": oldest.map(|told| &told["oldest"]), "overdue_s": oldest.map(|told| &told["overdue_s"]),
        "arrival_per_day": known("arrival_per_day"), "drain_per_day": known("drain_per_day"),
        "catches_up": catches_up,
    })
}

fn longest_life(lines: &[Line]) -> Option<&Value> {
    lines.iter().filter_map(|line| line.0.get("longest_life")).max_by_key(|life| life["seconds"].as_u64())
}

fn listed(lines: &[Line]) -> Vec<Value> {
    lines.iter().map(|line| Value::Object(line.0.clone())).collect()
}

fn filled(mut report: Report, details: Value) -> Report {
    if let Value::Object(details) = details {
        report.details.extend(details.into_iter().filter(|(_, value)| !value.is_null()));
    }
    report
}
