//! The budgets: limits that end a run as succeeded, with work left for later.
//!
//! Options of an occurrence narrow the params, never widen them. What is easy to get wrong: rows that an earlier
//! attempt of the same occurrence deleted count too, or each takeover would begin the budget anew.

use std::time::Duration;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::time::Instant;

use super::params::Params;
use crate::kind::{Options, Stop, Stopped, interval::Limit};

/// The budgets in force.
#[derive(Clone, Debug)]
pub struct Budget {
    rows: Option<u64>,
    /// What several share, and take more rows from.
    purse: Option<Arc<Purse>>,
    /// Whether it has taken some that it has not given back.
    took: bool,
    until: Option<Instant>,
    /// When the window closes; in the past if it is closed.
    closes: Option<Instant>,
}

impl Budget {
    /// The narrower of params and options; `done` rows are used up already, and it is `now`.
    ///
    /// # Errors
    /// If the options cannot be read.
    pub fn new(params: &Params, options: &Options, done: u64, now: Timestamp) -> Result<Self, Stop> {
        let asked = match options.time_limit.as_deref().map(Limit::parse).transpose() {
            Ok(limit) => limit,
            Err(message) => {
                return Err(Stop::refused(format!("option time_limit: {message}"), "write it such as 10m"));
            }
        };
        let time = narrower(params.time_limit.map(|limit| limit.0), asked.map(|limit| limit.0));
        let rows = narrower(params.limit_rows, options.limit_rows);
        let closes = params.window.as_ref().map(|window| {
            let left = window.closes(now).map(|closes| now.duration_until(closes));
            from_now(left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default())
        });
        let rows = rows.map(|rows| rows.saturating_sub(done));
        Ok(Budget { rows, purse: None, took: false, until: time.map(from_now), closes })
    }

    /// What is left of it once so many more rows are gone.
    pub fn less(&self, rows: u64) -> Budget {
        Budget { rows: self.rows.map(|left| left.saturating_sub(rows)), ..self.clone() }
    }

    /// For so many that work at a time: its clones keep to it together.
    pub fn shared(&self, workers: u16) -> Budget {
        let share = 2 * u64::from(workers.max(1));
        let purse = |rows| Arc::new(Purse(Mutex::new(Rows { rows, share, takers: 0 })));
        Budget { rows: self.rows.map(|_| 0), purse: self.rows.map(purse), ..self.clone() }
    }

    /// Whether those who share it may still take rows.
    pub fn more(&self) -> More {
        let Some(purse) = &self.purse else { return More::Never };
        let purse = purse.lock();
        match (purse.rows, purse.takers) {
            (0, 0) => More::Never,
            (0, _) => More::Later,
            _ => More::Now,
        }
    }

    /// Gives back what was taken and not used up, after so many rows.
    pub fn give_back(&mut self, deleted: u64) {
        let (Some(purse), Some(rows)) = (&self.purse, &mut self.rows) else { return };
        let mut purse = purse.lock();
        purse.rows += rows.saturating_sub(deleted);
        purse.takers -= u64::from(std::mem::take(&mut self.took));
        *rows = (*rows).min(deleted);
    }

    /// Whether there was more to take.
    fn take_more(&mut self) -> bool {
        let (Some(purse), Some(rows)) = (&self.purse, &mut self.rows) else { return false };
        let mut purse = purse.lock();
        let taken = purse.take();
        *rows += taken;
        if taken > 0 && !std::mem::replace(&mut self.took, true) {
            purse.takers += 1;
        }
        taken > 0
    }

    /// Why the run must end, if it must, after so many rows.
    pub fn spent(&mut self, deleted: u64) -> Option<Stopped> {
        if self.rows.is_some_and(|rows| deleted >= rows) && !self.take_more() {
            return Some(Stopped::LimitRows);
        }
        let now = Instant::now();
        if self.until.is_some_and(|until| now >= until) {
            return Some(Stopped::TimeLimit);
        }
        self.closes.filter(|closes| now >= *closes).map(|_| Stopped::WindowClosed)
    }

    /// Rows that may still go; `None` for no limit.
    pub fn left(&self, deleted: u64) -> Option<u64> {
        self.rows.map(|rows| rows.saturating_sub(deleted))
    }

    /// A rest, cut where the time is up.
    pub fn rest(&self, time: Duration) -> Duration {
        let left =
            narrower(self.until, self.closes).map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(time, |left| time.min(left))
    }
}

/// Whether there are rows to take from what several share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There are.
    Now,
    /// Not unless somebody gives some back.
    Later,
    /// Not any more.
    Never,
}

/// Rows that several may take from.
#[derive(Debug)]
struct Purse(Mutex<Rows>);

#[derive(Debug)]
struct Rows {
    rows: u64,
    /// The part of them that one takes at a time.
    share: u64,
    /// Those who took some and may give some back.
    takers: u64,
}

impl Purse {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    /// Not fewer at a time, as long as there are more.
    const LEAST: u64 = 1000;

    fn take(&mut self) -> u64 {
        let taken = (self.rows / self.share).max(Self::LEAST).min(self.rows);
        self.rows -= taken;
        taken
    }
}

fn from_now(time: Duration) -> Instant {
    let now = Instant::now();
    // What the clock cannot name is no limit that a run would meet.
    now.checked_add(time).unwrap_or(now + Duration::from_secs(86_400 * 365))
}

fn narrower<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn budget(limit_rows: Option<u64>, option: Option<u64>, done: u64) -> Budget {
        let params = json!({"table": "t", "by": "at", "retention": "1 day", "limit_rows": limit_rows});
        let params: Params = serde_json::from_value(params).expect("params");
        let options = Options { limit_rows: option, ..Options::default() };
        Budget::new(&params, &options, done, Timestamp::UNIX_EPOCH).expect("a budget")
    }

    #[test]
    fn options_only_narrow() {
        assert_eq!(budget(Some(10), Some(50), 0).left(0), Some(10));
        assert_eq!(budget(Some(10), Some(5), 0).left(0), Some(5));
        assert_eq!(budget(None, Some(5), 0).left(0), Some(5));
        assert_eq!(budget(None, None, 0).left(0), None);
    }

    #[test]
    fn a_closed_window_leaves_no_time() {
        let within = |window: &str| {
            let params = json!({"table": "t", "by": "at", "retention": "1 day", "window": window});
            let params: Params = serde_json::from_value(params).expect("params");
            Budget::new(&params, &Options::default(), 0, Timestamp::UNIX_EPOCH).expect("a budget").spent(0)
        };
        assert_eq!(within("00:00-05:00"), None);
        assert_eq!(within("05:00-00:00"), Some(Stopped::WindowClosed));
    }

    #[test]
    fn those_who_share_it_keep_to_it_together() {
        let all = budget(Some(10_000), None, 500).shared(2);
        let (mut one, mut other) = (all.clone(), all.clone());
        assert_eq!((one.spent(0), one.left(0)), (None, Some(2375)), "a quarter");
        assert_eq!((other.spent(0), other.left(0)), (None, Some(1781)), "a quarter of the rest");
        let mut deleted = 1781;
        while other.spent(deleted).is_none() {
            deleted += other.left(deleted).expect("there is a limit");
        }
        other.give_back(deleted);
        assert_eq!((deleted, other.more()), (9500 - 2375, More::Later), "one may not need all that it took");
        one.give_back(2000);
        assert_eq!((one.left(2000), other.more()), (Some(0), More::Now));
        assert_eq!((other.spent(deleted), other.left(deleted)), (None, Some(375)));
        other.give_back(deleted + 375);
        assert_eq!((one.spent(2000), one.more()), (Some(Stopped::LimitRows), More::Never));
    }

    #[test]
    fn earlier_attempts_count() {
        let mut budget = budget(Some(10), None, 7);
        assert_eq!(
            (budget.left(0), budget.spent(2), budget.spent(3)),
            (Some(3), None, Some(Stopped::LimitRows))
        );
    }
}
