//! Progress of runs as it is shown while it goes on: a bar a run on a terminal, lines elsewhere.
//!
//! What is easy to get wrong: how much there is to do is an estimate that the run made at its beginning
//! (`progress.eligible`). Where a kind gives none there is no bar and no time left, but what was done so far.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::format;
use crate::protocol::operate::RunningRow;

/// Bars on standard error, one a run.
pub(super) struct Board {
    bars: MultiProgress,
    shown: BTreeMap<uuid::Uuid, ProgressBar>,
    idle: Option<ProgressBar>,
}

impl Board {
    pub(super) fn new() -> Self {
        Board { bars: MultiProgress::new(), shown: BTreeMap::new(), idle: None }
    }

    /// Says what comes next, where nothing runs.
    pub(super) fn show_idle(&mut self, text: String) {
        self.show(&[]);
        let idle = self.idle.get_or_insert_with(|| self.bars.add(ProgressBar::new_spinner()));
        idle.set_message(text);
        idle.tick();
    }

    /// Shows these runs, and no others.
    pub(super) fn show(&mut self, running: &[RunningRow]) {
        if !running.is_empty()
            && let Some(idle) = self.idle.take()
        {
            idle.finish_and_clear();
        }
        self.shown.retain(|id, bar| {
            let on = running.iter().any(|run| run.run_id == *id);
            if !on {
                bar.finish_and_clear();
            }
            on
        });
        for run in running {
            let bar =
                self.shown.entry(run.run_id).or_insert_with(|| self.bars.add(ProgressBar::new_spinner()));
            if let Some(total) = total(run) {
                if bar.length().is_none() {
                    bar.set_style(style("{bar:24.cyan/dim} {percent:>3}%  {msg}"));
                }
                bar.set_length(total.max(done(run)));
            }
            bar.set_position(done(run));
            bar.set_message(line(run));
            bar.tick();
        }
    }

    /// Takes all bars away.
    pub(super) fn clear(&mut self) {
        self.show(&[]);
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━━─")
}

/// Rows done for the occurrence, by this attempt and those before it.
fn done(run: &RunningRow) -> u64 {
    u64::try_from(run.rows_before + run.rows_done.unwrap_or(0)).unwrap_or(0)
}

/// How many rows there are to do, as the run estimated.
fn total(run: &RunningRow) -> Option<u64> {
    run.progress.as_ref()?.get("eligible")?.as_u64().filter(|total| *total > 0)
}

/// Seconds left at the speed so far.
fn seconds_left(run: &RunningRow) -> Option<f64> {
    let (total, done, speed) = (total(run)?, done(run), run.rows_per_second?);
    (speed > 0 && total > done).then(|| (total - done) as f64 / speed as f64)
}

/// One run in one line.
pub(super) fn line(run: &RunningRow) -> String {
    let mut parts = vec![format!("{} on {}", run.job, run.holder)];
    let rows = format::count(i64::try_from(done(run)).unwrap_or(i64::MAX));
    let of = total(run).map(|total| format!(" of {}", format::count(total.try_into().unwrap_or(i64::MAX))));
    parts.push(format!("{rows}{} rows", of.unwrap_or_default()));
    parts.push(format!("{}/s", format::count(run.rows_per_second.unwrap_or(0))));
    parts.push(format!("for {}", format::span(run.duration)));
    parts.extend(seconds_left(run).map(|left| format!("{} left", format::span(left))));
    parts.extend((run.mode == "dry").then(|| "dry run".to_owned()));
    parts.extend((run.attempt > 1).then(|| format!("attempt {}", run.attempt)));
    parts.extend(
        run.waits_for.as_ref().filter(|what| is_blocked(what)).map(|what| format!("waits for {what}")),
    );
    parts.extend(run.stops_because.as_ref().map(|why| format!("stops: {why}")));
    parts.join(", ")
}

/// Waiting for its client is a session's rest, and writing is its work.
fn is_blocked(wait: &str) -> bool {
    wait.starts_with("Lock")
}
