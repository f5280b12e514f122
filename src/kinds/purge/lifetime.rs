//! The longest time that a row can live: not the retention, but what comes on top of it.
//!
//! A row whose age passes the retention just after one run waits for the next, and that run needs its time. So it may live
//! for the retention, the grace, the longest time between two runs, and a run. What is easy to get wrong: this holds
//! while runs succeed and leave nothing. Pauses, failures and budgets come on top, and are seen in the backlog.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    cursor::Cutoff,
    history::History,
    params::{Params, Straddling, WalkChoice},
    window::Window,
};
use crate::kind::RunContext;

/// The time between two runs, as a share of the retention, from which on there is a warning: a row then lives more than
/// one and a half times as long as the job says. Our own figure.
const OUT_OF_PROPORTION: f64 = 0.5;

/// The longest time that a row can live.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifetime {
    /// Retention and grace, and since the last midnight if it counts from there; after `expires`, the grace alone.
    kept: f64,
    /// The longest time between two runs.
    between: f64,
    /// The longest of the last runs; `None` if there was none.
    run: Option<f64>,
    /// Whether rows say themselves when their time is over.
    expires: bool,
    /// Whether rows wait for their whole partition.
    whole: bool,
}

impl Lifetime {
    /// For this job; `None` where rows have retentions of their own or no age, or where no schedule brings the next run.
    /// The cutoff is that of the run's own now, before `keep_min` moves it.
    pub fn of(
        context: &RunContext,
        params: &Params,
        cutoff: Option<&Cutoff>,
        history: &History,
    ) -> Option<Self> {
        let own = params.retention_column.is_some() || params.retention_query.is_some();
        let cutoff = cutoff.filter(|_| !own)?;
        let scheduled = context.longest_gap()?;
        let closed = params.window.as_ref().map_or(SignedDuration::ZERO, Window::closed_for);
        Some(Lifetime {
            kept: context.now().duration_since(cutoff.at).as_secs_f64(),
            between: scheduled.max(closed).as_secs_f64(),
            run: history.longest(),
            expires: params.expires.is_some(),
            whole: params.walk == WalkChoice::Partition && params.straddling() == Straddling::Leave,
        })
    }

    /// For reports.
    pub fn to_json(&self) -> Value {
        let run = self.run.unwrap_or_default();
        let total = self.kept + self.between + run;
        let after = if self.expires { " after its expiry" } else { "" };
        let whole = if self.whole { ", and until all of its partition is old" } else { "" };
        let of_run = self.run.map(|run| format!(", {} of a run", span(run))).unwrap_or_default();
        let kept = match (self.expires, self.kept > 0.0) {
            (true, false) => String::new(),
            (true, true) => format!("{} of grace, ", span(self.kept)),
            (false, _) => format!("{} kept, ", span(self.kept)),
        };
        let parts = format!("{kept}{} between runs{of_run}", span(self.between));
        json!({
            "seconds": total.round() as u64, "kept_s": self.kept.round() as u64,
            "between_runs_s": self.between.round() as u64, "run_s": self.run.map(|run| run.ceil() as u64),
            "text": format!("{}{after} ({parts}){whole}", span(total)),
        })
    }

    /// Says so if the time between runs is out of proportion to the retention.
    pub fn warning(&self) -> Option<String> {
        if self.expires || self.between <= self.kept * OUT_OF_PROPORTION {
            return None;
        }
        Some(format!(
            "a row may live for {}: {} pass between two runs, more than half of the {} that rows are kept; let it run more often",
            span(self.kept + self.between + self.run.unwrap_or_default()),
            span(self.between),
            span(self.kept)
        ))
    }
}

/// A span of time in its two largest units, rounded up: `30 d 4 h`.
fn span(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut whole = seconds.max(0.0).ceil() as u64;
    for (large, small) in UNITS.iter().zip(UNITS.iter().skip(1).chain(UNITS.last())) {
        // What is rounded up to the next unit may be one of the unit above.
        let rounded = if whole >= large.0 / 2 { whole.div_ceil(small.0) * small.0 } else { whole };
        if rounded < large.0 {
            continue;
        }
        whole = rounded;
        let (count, more) = (whole / large.0, whole % large.0 / small.0);
        return match more {
            0 => format!("{count} {}", large.1),
            more => format!("{count} {} {more} {}", large.1, small.1),
        };
    }
    "0 s".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;

    fn life(kept: f64, between: f64) -> Lifetime {
        Lifetime { kept, between, run: None, expires: false, whole: false }
    }

    #[test]
    fn it_is_the_sum_of_what_a_row_waits_for() {
        let life = Lifetime { run: Some(90.0), ..life(30.0 * DAY, DAY) };
        let told = life.to_json();
        assert_eq!(told["seconds"], 31 * 86_400 + 90);
        assert_eq!(told["text"], "31 d 1 h (30 d kept, 1 d between runs, 1 min 30 s of a run)");
        let expiring = Lifetime { expires: true, ..super::tests::life(0.0, 3600.0) };
        assert_eq!(expiring.to_json()["text"], "1 h after its expiry (1 h between runs)");
        assert_eq!(expiring.warning(), None);
    }

    #[test]
    fn more_than_half_of_the_retention_between_runs_is_out_of_proportion() {
        assert_eq!(life(30.0 * DAY, 7.0 * DAY).warning(), None);
        assert_eq!(life(2.0 * DAY, DAY).warning(), None);
        let warning = life(DAY, DAY).warning().expect("a day is all of a day");
        assert!(warning.starts_with("a row may live for 2 d: 1 d pass between two runs"), "{warning}");
    }

    #[test]
    fn spans_are_rounded_up_in_two_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.2, "1 s"),
            (61.0, "1 min 1 s"),
            (3599.5, "1 h"),
            (86_399.0, "1 d"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
    }
}
