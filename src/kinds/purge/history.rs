//! What the last real runs of the job tell of the next: how long, how much WAL, and whether the purge keeps up.
//!
//! Rows come of age at one rate and are deleted at another; where a run's budget ends before its work, the first may be
//! the greater, and then rows are kept ever longer though each run succeeds. What is easy to get wrong: one slow night
//! says nothing. A job never catches up if its backlog did not shrink over three runs or more that each left some.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::{
    kind::{RunContext, Stop, Stopped},
    statements,
};

/// So many intervals between runs are needed before the rates say that a job never catches up.
const INTERVALS: usize = 2;
const DAY_S: f64 = 86_400.0;

/// The last real runs that succeeded, the latest first.
#[derive(Debug, Default)]
pub struct History(Vec<Past>);

/// One of them.
#[derive(Clone, Debug, Default)]
struct Past {
    /// Of this revision.
    same: bool,
    walk: Option<String>,
    /// Its now.
    as_of: Option<Timestamp>,
    /// Rows deleted, by earlier attempts too.
    drained: u64,
    /// Rows deleted by its last attempt, of which the following tell.
    deleted: u64,
    left: Option<u64>,
    batches: u64,
    wal: Option<f64>,
    /// Seconds of its walk.
    walked: f64,
    /// Seconds from its start to its end.
    took: f64,
}

impl Past {
    fn of(row: &Row) -> Self {
        let report: Value = row.get("report");
        Past { same: row.get("same"), ..Past::told(&report, row.get("took_s")) }
    }

    fn told(report: &Value, took: f64) -> Self {
        let number = |name: &str| report[name].as_u64().unwrap_or_default();
        let text = |name: &str| report[name].as_str();
        Past {
            same: true,
            walk: text("walk").map(str::to_owned),
            as_of: text("as_of").and_then(|at| at.parse().ok()),
            drained: number("deleted") + number("deleted_before"),
            deleted: number("deleted"),
            left: report["backlog"]["rows"].as_u64(),
            batches: number("batches"),
            wal: report["wal_bytes"].as_f64(),
            // Both are sums over the sessions that worked.
            walked: (number("busy_ms") + number("resting_ms")) as f64
                / 1000.0
                / number("workers").max(1) as f64,
            took,
        }
    }
}

impl History {
    /// Reads it: that of the job, or of one of its targets.
    pub async fn read(context: &mut RunContext, target: Option<usize>) -> Result<Self, Stop> {
        let run = context.run_id();
        let target = target.map(|target| i32::try_from(target).unwrap_or(i32::MAX));
        let rows = context.query_home(statements::PURGE_HISTORY, &[&run, &target]).await?;
        Ok(History(rows.iter().map(Past::of).collect()))
    }

    /// The longest of them, in seconds.
    pub fn longest(&self) -> Option<f64> {
        self.0.iter().map(|past| past.took).reduce(f64::max)
    }

    /// What deleting so many rows by this walk would take, by those of them that did the like; `None` if there is none.
    pub fn estimate(&self, walk: &str, rows: u64, limit_rows: Option<u64>) -> Option<Value> {
        let alike = self.0.iter().filter(|past| past.walk.as_deref() == Some(walk) && past.deleted > 0);
        let (mut runs, mut deleted, mut batches, mut walked, mut wal) = (0, 0.0, 0.0, 0.0, 0.0);
        for past in alike {
            runs += 1;
            deleted += past.deleted as f64;
            batches += past.batches as f64;
            walked += past.walked;
            wal += past.wal.unwrap_or_default();
        }
        if runs == 0 {
            return None;
        }
        let of_one = limit_rows.map_or(rows, |limit| rows.min(limit));
        let share = of_one as f64 / deleted;
        let seconds = (walked * share * 10.0).ceil() / 10.0;
        Some(json!({
            "rows": of_one, "batches": (batches * share).ceil() as u64, "seconds": seconds,
            "wal_bytes": (wal * share).ceil() as u64, "from_runs": runs,
            "runs_needed": limit_rows.map(|limit| rows.div_ceil(limit.max(1))),
        }))
    }

    /// What the run left: how many, how old, and whether the job keeps up with what comes of age.
    pub fn backlog(&self, run: &Backlog) -> Value {
        let (arrival, drain) = self.rates(run).unzip();
        let catches_up = match (run.stopped, run.rows) {
            (Stopped::Drained, _) | (_, 0) => Some(true),
            _ => arrival.zip(drain).map(|(arrival, drain)| drain > arrival),
        };
        let days = arrival
            .zip(drain)
            .filter(|_| run.rows > 0 && catches_up == Some(true))
            .map(|(arrival, drain)| drain - arrival)
            .filter(|net| *net > 0.0)
            .map(|net| (run.rows as f64 / net * 10.0).ceil() / 10.0);
        json!({
            "rows": run.rows, "counted": run.counted, "oldest": run.oldest, "overdue_s": run.overdue_s,
            "arrival_per_day": arrival.map(rounded), "drain_per_day": drain.map(rounded),
            "catches_up": catches_up, "days_to_drain": days,
        })
    }

    /// Rows a day that came of age, and that were deleted, since the first of the runs of this revision; `None` if these
    /// are too few to tell.
    fn rates(&self, run: &Backlog) -> Option<(f64, f64)> {
        let told: Vec<(Timestamp, u64, u64)> = self
            .0
            .iter()
            .take_while(|past| past.same)
            .map_while(|past| Some((past.as_of?, past.left?, past.drained)))
            .collect();
        let (first_at, first_left, _) = *told.last().filter(|_| told.len() >= INTERVALS)?;
        let days = run.as_of.duration_since(first_at).as_secs_f64() / DAY_S;
        if days <= 0.0 {
            return None;
        }
        let drained: u64 =
            run.drained + told[..told.len() - 1].iter().map(|(_, _, drained)| drained).sum::<u64>();
        let arrived = drained as f64 + run.rows as f64 - first_left as f64;
        Some((arrived.max(0.0) / days, drained as f64 / days))
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Backlog {
    /// The run's now.
    pub as_of: Timestamp,
    /// Rows that are still eligible.
    pub rows: u64,
    /// Whether they were counted, or estimated.
    pub counted: bool,
    /// The oldest age among them, for people.
    pub oldest: Option<String>,
    /// For how long that one is eligible, in seconds.
    pub overdue_s: Option<u64>,
    /// Rows that the run deleted, earlier attempts included.
    pub drained: u64,
    /// Why it ended.
    pub stopped: Stopped,
}

fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).expect("an instant")
    }

    fn past(at: i64, left: u64, drained: u64) -> Past {
        Past { same: true, as_of: Some(day(at)), left: Some(left), drained, ..Past::default() }
    }

    fn now(at: i64, rows: u64, drained: u64) -> Backlog {
        let stopped = Stopped::LimitRows;
        Backlog { as_of: day(at), rows, counted: true, oldest: None, overdue_s: None, drained, stopped }
    }

    #[test]
    fn a_backlog_that_does_not_shrink_over_three_runs_is_never_caught_up() {
        let growing = History(vec![past(2, 1050, 100), past(1, 1000, 100)]);
        let told = growing.backlog(&now(3, 1100, 100));
        assert_eq!(
            (&told["catches_up"], &told["arrival_per_day"], &told["drain_per_day"]),
            (&json!(false), &json!(150), &json!(100))
        );
        let one = History(vec![past(2, 1050, 100)]);
        assert_eq!(one.backlog(&now(3, 1100, 100))["catches_up"], Value::Null);
        let level = History(vec![past(2, 1000, 100), past(1, 1000, 100)]);
        assert_eq!(level.backlog(&now(3, 1000, 100))["catches_up"], false);
    }

    #[test]
    fn one_that_shrinks_is_caught_up_some_day() {
        let shrinking = History(vec![past(2, 900, 200), past(1, 1000, 200)]);
        let told = shrinking.backlog(&now(3, 800, 200));
        assert_eq!((&told["catches_up"], &told["days_to_drain"]), (&json!(true), &json!(8.0)), "{told}");
    }

    #[test]
    fn what_other_revisions_left_does_not_count() {
        let mut edited = History(vec![past(2, 900, 200), past(1, 1000, 200)]);
        edited.0[1].same = false;
        assert_eq!(edited.backlog(&now(3, 800, 200))["catches_up"], Value::Null);
    }

    #[test]
    fn estimates_go_by_runs_of_the_same_walk() {
        let report = json!({"walk": "heap", "deleted": 1000, "batches": 4, "busy_ms": 1500, "resting_ms": 500, "wal_bytes": 200_000});
        let history = History(vec![Past::told(&report, 3.0)]);
        let told = history.estimate("heap", 5000, Some(2000)).expect("there is one");
        assert_eq!(
            (&told["rows"], &told["batches"], &told["seconds"], &told["wal_bytes"], &told["runs_needed"]),
            (&json!(2000), &json!(8), &json!(4.0), &json!(400_000), &json!(3))
        );
        assert_eq!(history.estimate("index", 5000, None), None);
        assert_eq!(history.longest(), Some(3.0));
    }
}
