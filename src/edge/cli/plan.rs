//! `sexton plan`: a dry run now, and its report for people.
//!
//! It takes the way of every run (the same statements, the same cutoff, no writes), in a replica within this process
//! or wherever the job is taken, so that its answer is what a real run would find. What is easy to get wrong: it is
//! a run, and stands in the history as one, in mode `dry`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{
    Context, Exit, file, format,
    narrow::Narrow,
    oneshot::{self, Done},
    show,
};
use crate::{error::Result, protocol::operate::RunRow};

/// What `plan` takes.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The job's name
    job: String,
    /// What this replica knows locally: secrets, hosts, storages, commands
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    narrow: Narrow,
}

pub(super) async fn plan(context: &Context, args: &PlanArgs) -> Result<Exit> {
    if let Some(exit) = file::read_local(context, args.config.as_deref()) {
        return Ok(exit);
    }
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
        let plan = run.report.as_ref().and_then(|report| purge(&run.job, report));
        text.push_str(&plan.unwrap_or_else(|| any(run)));
        text.push_str(&format!("\n`sexton show {}` shows its report again.\n", run.id));
    }
    for held in &done.not_run {
        text.push_str(&format!("{} cannot be planned now. {}\n", held.job, held.why));
    }
    text
}

/// The plan of any kind: its report as it is.
fn any(run: &RunRow) -> String {
    let mut text = match run.state.as_str() {
        "succeeded" => format!("A run of {} now would do this; nothing was written.\n", run.job),
        "refused" => format!("A run of {} now would be refused.\n", run.job),
        state => format!("The dry run of {} ended as {state}.\n", run.job),
    };
    text.extend(run.error.iter().map(|error| format!("{error}\n")));
    if let Some(report) = &run.report {
        show::section(&mut text, "plan", report);
    }
    text
}

/// The plan of a purge; `None` if this is no such report.
fn purge(job: &str, report: &Value) -> Option<String> {
    let Some(targets) = report["targets"].as_array().filter(|_| report["dry"] == true) else {
        return of_table(job, report);
    };
    let eligible = format::count(report.get("eligible")?.as_i64()?);
    let mut text = format!(
        "A run of {job} now would delete {eligible} rows by {} targets; nothing was written.\n",
        targets.len()
    );
    text.push_str(&refusals(report.get("would_refuse")?.as_array()?));
    for (target, number) in targets.iter().zip(1..) {
        let said = |name: &str| target[name].as_str();
        let narrowed = said("where").map(|predicate| format!(" where {predicate}")).unwrap_or_default();
        text.push_str(&format!("\nTarget {number}: {}{narrowed}\n", said("table").unwrap_or("-")));
        match target["outcome"].as_str() {
            Some("succeeded") => text.push_str(&of_table(job, target)?),
            outcome => text.push_str(&format!(
                "It would be {}: {}\n",
                outcome.unwrap_or("-"),
                said("reason").or(said("error")).unwrap_or("-")
            )),
        }
    }
    Some(text)
}

/// Why a run would be refused.
fn refusals(refusals: &[Value]) -> String {
    let mut text = String::new();
    if !refusals.is_empty() {
        text.push_str("But it would be refused:\n");
    }
    for refusal in refusals {
        text.push_str(&format!("  {}\n", refusal["reason"].as_str().unwrap_or_default()));
        text.extend(refusal["remedy"].as_str().map(|remedy| format!("  → {remedy}\n")));
    }
    text
}

/// The plan of the purge of a table, in the order in which one asks; `None` if this is no such report.
fn of_table(job: &str, report: &Value) -> Option<String> {
    let (eligible, refused) = (report.get("eligible")?.as_i64()?, report.get("would_refuse")?.as_array()?);
    let of =
        report["table_rows"].as_i64().map(|rows| format!(" of {}", format::count(rows))).unwrap_or_default();
    let mut text = format!(
        "A run of {job} now would delete {}{of} rows; nothing was written.\n",
        format::count(eligible)
    );
    text.push_str(&refusals(refused));
    text.push('\n');
    let said = |name: &str| report[name].as_str().unwrap_or("-").to_owned();
    text.push_str(&format!("cutoff    {} (retention {})\n", said("cutoff"), said("retention")));
    text.push_str(&format!(
        "ages      {} to {}\n",
        show::leaf(&report["oldest"]),
        show::leaf(&report["newest"])
    ));
    text.push_str(&format!("walk      {}: {}\n", said("walk"), said("walk_why")));
    text.push_str(&estimate(report));
    text.extend(
        report
            .pointer("/longest_life/text")
            .and_then(Value::as_str)
            .map(|life| format!("rows live up to {life}\n")),
    );
    if let Some(kept) = report["kept"].as_i64().filter(|kept| *kept > 0) {
        text.push_str(&format!(
            "kept      {} old rows stay, by holds or as the job says\n",
            format::count(kept)
        ));
    }
    for hold in report["holds"].as_array().into_iter().flatten() {
        text.push_str(&format!("hold      {}\n", show::leaf(hold)));
    }
    for part in report["partitions"].as_array().into_iter().flatten() {
        let about = if part["counted"] == true { "" } else { "about " };
        let (name, rows, until) =
            (show::leaf(&part["name"]), show::leaf(&part["rows"]), show::leaf(&part["until"]));
        text.push_str(&format!("partition {name} goes as a whole: {about}{rows} rows, up to {until}\n"));
    }
    for part in report["partitions_kept"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "partition {} stays: {}\n",
            show::leaf(&part["name"]),
            show::leaf(&part["why"])
        ));
    }
    for child in report["children"].as_array().into_iter().flatten() {
        let rows = child["eligible"].as_i64().map(format::count).unwrap_or_default();
        text.push_str(&format!("children  {rows} rows of {} first\n", show::leaf(&child["table"])));
    }
    text.extend(report["archive"].as_str().map(|table| format!("archive   {table}\n")));
    for (name, heading) in [("warnings", "warning"), ("missing_indexes", "missing")] {
        for item in report[name].as_array().into_iter().flatten() {
            text.push_str(&format!("{heading:<10}{}\n", show::leaf(item)));
        }
    }
    Some(text)
}

/// What it would take, by the runs before.
fn estimate(report: &Value) -> String {
    let told = &report["estimate"];
    let (Some(rows), Some(runs)) = (told["rows"].as_i64(), told["from_runs"].as_i64()) else {
        return "estimate  none: no real run of this job has deleted by this walk yet\n".to_owned();
    };
    let took = format::span(told["seconds"].as_f64().unwrap_or_default());
    let of_each = match told["runs_needed"].as_i64() {
        Some(needed) if needed > 1 => format!(" in each of {needed} runs"),
        _ => String::new(),
    };
    let wal = format::bytes(told["wal_bytes"].as_i64().unwrap_or_default());
    format!(
        "estimate  {} rows{of_each}: {} batches, {took}, {wal} of WAL (by {runs} earlier runs; WAL of the whole server)\n",
        format::count(rows),
        show::leaf(&told["batches"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_a_purge_says_first_what_goes_and_what_refuses_it() {
        let report = serde_json::json!({
            "eligible": 256801, "table_rows": 300000, "cutoff": "2026-10-23T03:54:08Z", "retention": "30 days",
            "oldest": "a", "newest": "b", "walk": "index", "walk_why": "because", "warnings": ["w"],
            "children": [{"table": "public.items", "eligible": 1200}], "archive": "public.kept",
            "missing_indexes": [], "would_refuse": [{"reason": "too much", "remedy": "arm it"}],
        });
        let text = purge("audit-logs", &report).expect("it is a purge's");
        assert!(text.starts_with("A run of audit-logs now would delete 256,801 of 300,000 rows;"), "{text}");
        assert!(text.contains("refused:\n  too much\n  → arm it\n"), "{text}");
        assert!(text.contains("warning   w\n"), "{text}");
        assert!(
            text.contains("children  1,200 rows of public.items first\narchive   public.kept\n"),
            "{text}"
        );
        assert_eq!(purge("other", &serde_json::json!({"stopped": "drained"})), None);
    }

    #[test]
    fn the_plan_of_several_targets_has_each_of_them_below_their_sum() {
        let report = serde_json::json!({
            "dry": true, "eligible": 1200, "would_refuse": [{"reason": "b: too much", "remedy": "arm it"}],
            "targets": [
                {"table": "a", "where": "x", "outcome": "succeeded", "eligible": 1200, "table_rows": 5000,
                 "would_refuse": []},
                {"table": "b", "outcome": "refused", "reason": "b is gone"},
            ],
        });
        let text = purge("tidy", &report).expect("it is a purge's");
        assert!(text.starts_with("A run of tidy now would delete 1,200 rows by 2 targets;"), "{text}");
        assert!(text.contains("refused:\n  b: too much\n  → arm it\n"), "{text}");
        assert!(
            text.contains("\nTarget 1: a where x\nA run of tidy now would delete 1,200 of 5,000 rows"),
            "{text}"
        );
        assert!(text.contains("\nTarget 2: b\nIt would be refused: b is gone\n"), "{text}");
    }
}
