//! How much a batch takes, and how long to rest after it.
//!
//! The controller knows the size of the last batch and how long it took. It aims at a time, moves towards it by at most
//! a factor, and never goes below a floor just to chase a time that a slow disk denies it: on the prototype, three of
//! four naive controllers ended at 50 rows a batch and a tenth of the throughput, for nothing. What is easy to get
//! wrong: part of each batch's time is the commit's own, which no smaller batch makes shorter (by counting it in, this
//! one too ended at a tenth where each commit waited a tenth of a second); slowing down is done by resting, within a
//! batch too (`protocol::slices`).

use std::time::Duration;

use super::params::Pacing;
use crate::kind::Slices;

/// What the sizes of a walk are counted in, and their bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// How many rows one of it holds, about.
    pub rows: f64,
}

impl Unit {
    /// A row.
    pub const ROW: Unit = Unit { rows: 1.0 };
}

/// The controller.
#[derive(Clone, Debug)]
pub struct Pace {
    pacing: Pacing,
    fixed: bool,
    size: f64,
    least: f64,
    most: f64,
    /// Seconds for one unit, smoothed.
    cost: Option<f64>,
    limit: Duration,
    /// Rows in one unit, about.
    rows: f64,
    /// How long a commit takes, smoothed.
    commit: Duration,
}

/// The share of the time that the gentle pace works. With 0.5 the p99 of an application beside it was 1.6 times its own in
/// place of 1.5, and it moved 0.41 of a single DELETE in place of 0.35 (`benches/gentle`).
const GENTLE_SHARE: f64 = 0.45;
/// How long its batches are to work, in slices: short, since rows stay locked for about twice that.
const GENTLE_AIM: Duration = Duration::from_millis(5);
/// The same where commits take longer: as long as they do, or most of the time would be theirs. But no longer than this.
const GENTLE_AIM_MOST: Duration = Duration::from_millis(50);
/// How long a slice of a batch works, at least. In gentle pace it is a little more, so that there is rest enough for as
/// many as the batch has.
const SLICE: Duration = Duration::from_micros(600);
/// How long the server rests between two: it keeps time in milliseconds.
const SLICE_REST: Duration = Duration::from_millis(1);
/// A slice has at least so many rows: each is planned anew where its plan may not be kept, which takes longer than these.
const SLICE_ROWS: f64 = 250.0;
/// Not fewer rows than this to chase a time.
const LEAST_ROWS: f64 = 1000.0;
/// Not more rows than this, however quick they are.
const MOST_ROWS: f64 = 500_000.0;
/// How long a batch may take at first.
const LIMIT: Duration = Duration::from_millis(450);
/// How long it may take before it is made smaller than the floor.
const LIMIT_AT_FLOOR: Duration = Duration::from_millis(3600);
/// How many times its aim a batch may take that turns out to hold more than was expected, and at least how long.
const GUESS_AIMS: u32 = 10;
const GUESS_LEAST: Duration = Duration::from_millis(100);
/// How long a batch may take if it cannot be made smaller.
const LIMIT_MOST: Duration = Duration::from_secs(300);

impl Pace {
    /// A controller for a walk; `batch` fixes the size in rows.
    pub fn new(pacing: Pacing, unit: Unit, batch: Option<u64>) -> Self {
        let units = |rows: f64| (rows / unit.rows).max(1.0);
        // Of a rate, not more at a time than a second's worth.
        let most = match pacing {
            Pacing::RowsPerSecond(rows) => MOST_ROWS.min(rows as f64),
            _ => MOST_ROWS,
        };
        let first = match pacing {
            Pacing::Full => 10.0 * LEAST_ROWS,
            _ => LEAST_ROWS.min(most),
        };
        // At most a million rows, so the number is exact.
        let size = batch.map_or(first, |rows| rows as f64);
        Pace {
            pacing,
            fixed: batch.is_some(),
            size: units(size),
            least: units(LEAST_ROWS),
            most: units(most),
            cost: None,
            limit: LIMIT,
            rows: unit.rows,
            commit: Duration::ZERO,
        }
    }

    /// Whether one batch follows the other at once.
    pub fn never_rests(&self) -> bool {
        self.pacing == Pacing::Full
    }

    /// Whether the size of a batch is its own business, as long as it takes about its time.
    pub fn may_guess(&self) -> bool {
        !self.fixed && !matches!(self.pacing, Pacing::RowsPerSecond(_))
    }

    /// What the next batch takes, in units.
    pub fn size(&self) -> u64 {
        self.size.max(1.0) as u64
    }

    /// How long the next batch may take before it is taken back and made smaller.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The same, for a batch whose end is a guess: no more than a few times its aim, unless that is out of reach anyway.
    pub fn limit_of_guess(&self) -> Duration {
        let (aim, expected) = (self.aim(), self.cost.unwrap_or(0.0) * self.size);
        if expected < 2.0 * aim.as_secs_f64() {
            self.limit.min(GUESS_LEAST.max(aim * GUESS_AIMS))
        } else {
            self.limit
        }
    }

    /// A batch of `units` took that long, and its commit besides: sets the next size.
    pub fn learn(&mut self, units: u64, time: Duration, commit: Duration) {
        self.commit = (self.commit * 3 + commit) / 4;
        if self.fixed || units == 0 {
            return;
        }
        let cost = time.as_secs_f64().max(1e-6) / units as f64;
        let smooth = self.cost.map_or(cost, |before| 0.6 * before + 0.4 * cost);
        self.cost = Some(smooth);
        let aim = self.aim().as_secs_f64() / smooth;
        let next = aim.clamp(self.size / 2.0, self.size * 3.0);
        self.size = next.clamp(self.least.min(self.most), self.most);
    }

    /// How long to rest after a batch with so many rows that took that long, its commit included.
    pub fn rest_after(&self, rows: u64, time: Duration) -> Duration {
        match self.pacing {
            Pacing::Gentle => rest_for(GENTLE_SHARE, time),
            Pacing::Full => Duration::ZERO,
            Pacing::RowsPerSecond(rate) => {
                let due = Duration::try_from_secs_f64(rows as f64 / rate as f64).unwrap_or(Duration::MAX);
                due.saturating_sub(time)
            }
            Pacing::DutyCycle(share) => rest_for(share, time),
        }
    }

    /// Into how many slices to cut a batch of so many units, and how long to rest between two: so that what waits for the
    /// processor waits for one slice. All rests together are no longer than the batch is to rest, of which what is left
    /// comes after it.
    pub fn slices(&self, units: u64) -> (u32, Duration) {
        let whole = (1, Duration::ZERO);
        let Some(cost) = self.cost.filter(|_| units > 0) else { return whole };
        let Ok(work) = Duration::try_from_secs_f64(cost * units as f64) else { return whole };
        let rows = units as f64 * self.rows;
        let rest = self.rest_after(rows as u64, work).as_secs_f64();
        let most = (work.as_secs_f64() / SLICE.as_secs_f64())
            .min(rest / SLICE_REST.as_secs_f64() + 1.0)
            .min(rows / SLICE_ROWS);
        let most = (most as u32).min(Slices::MOST as u32);
        if most < 2 { whole } else { (most, SLICE_REST) }
    }

    /// A batch took longer than the limit, and was taken back. The next one is half as large, but not below the floor
    /// before it had some seconds; one that cannot be smaller gets twice the time, until that is the most.
    #[must_use]
    pub fn too_long(&mut self) -> Patience {
        self.cost = self.cost.map(|cost| cost * 1.5);
        let floor = if self.fixed || self.limit >= LIMIT_AT_FLOOR { 1.0 } else { self.least.min(self.most) };
        if self.size > floor {
            self.size = (self.size / 2.0).max(floor);
            self.least = self.least.min(self.size);
            Patience::Left
        } else if self.limit < LIMIT_MOST {
            self.limit = (self.limit * 2).min(LIMIT_MOST);
            Patience::Left
        } else {
            Patience::Over
        }
    }

    fn aim(&self) -> Duration {
        match self.pacing {
            Pacing::Full => Duration::from_millis(250),
            _ => self.commit.clamp(GENTLE_AIM, GENTLE_AIM_MOST),
        }
    }
}

/// The rest after which work that took that long was this share of the time.
fn rest_for(share: f64, time: Duration) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * (1.0 / share - 1.0)).unwrap_or(Duration::MAX)
}

/// Whether there is something left to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// There is.
    Left,
    /// There is not.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the controller against a server that needs `fixed` for a commit and `each` for a row.
    fn settle(pacing: Pacing, unit: Unit, fixed: f64, each: f64) -> (u64, Duration) {
        let mut pace = Pace::new(pacing, unit, None);
        let mut last = Duration::ZERO;
        for round in 0..60_u32 {
            let noise = 1.0 + 0.2 * f64::from(round % 3) - 0.2;
            last = Duration::from_secs_f64(noise * (fixed + each * unit.rows * pace.size() as f64));
            pace.learn(pace.size(), last, Duration::ZERO);
        }
        (pace.size(), last)
    }

    #[test]
    fn it_settles_at_its_aim() {
        for (pacing, aim) in [(Pacing::Full, 0.25), (Pacing::Gentle, 0.005)] {
            let (_, time) = settle(pacing, Unit::ROW, 0.001, 4e-6);
            assert!((0.7 * aim..1.3 * aim).contains(&time.as_secs_f64()), "{pacing:?} settled at {time:?}");
        }
    }

    #[test]
    fn it_does_not_chase_the_time_of_a_slow_disk() {
        let (size, _) = settle(Pacing::Gentle, Unit::ROW, 0.08, 4e-6);
        assert_eq!(size, 1000);
        let (blocks, _) = settle(Pacing::Gentle, Unit { rows: 30.0 }, 0.08, 4e-6);
        assert_eq!(blocks, 33);
    }

    #[test]
    fn rows_that_are_cheap_do_not_make_it_endless() {
        let (size, _) = settle(Pacing::Full, Unit::ROW, 0.0, 1e-9);
        assert_eq!(size, 500_000);
    }

    #[test]
    fn it_waits_longer_at_the_floor_then_halves_below_it() {
        let mut pace = Pace::new(Pacing::Gentle, Unit::ROW, None);
        let before = pace.limit();
        for (size, limit) in [(1000, 2), (1000, 4), (1000, 8), (500, 8), (250, 8)] {
            assert_eq!(pace.too_long(), Patience::Left);
            assert_eq!((pace.size(), pace.limit()), (size, before * limit));
        }
    }

    #[test]
    fn what_turns_out_larger_than_guessed_is_broken_off_unless_all_are_slow() {
        let mut pace = Pace::new(Pacing::Gentle, Unit::ROW, None);
        assert_eq!(pace.limit_of_guess(), Duration::from_millis(100));
        pace.learn(1000, Duration::from_millis(80), Duration::ZERO);
        assert_eq!(pace.limit_of_guess(), pace.limit(), "a slow disk is no wrong guess");
    }

    #[test]
    fn a_fixed_size_is_halved_then_waits_longer_then_gives_up() {
        let mut pace = Pace::new(Pacing::Gentle, Unit::ROW, Some(4));
        let before = pace.limit();
        assert_eq!((pace.too_long(), pace.size()), (Patience::Left, 2));
        assert_eq!((pace.too_long(), pace.size()), (Patience::Left, 1));
        assert_eq!((pace.too_long(), pace.size()), (Patience::Left, 1));
        assert_eq!(pace.limit(), before * 2);
        let tries = (0..20).take_while(|_| pace.too_long() == Patience::Left).count();
        assert!(tries < 15, "{tries}");
    }

    #[test]
    fn where_a_commit_takes_long_the_batch_does_too() {
        for (commit, work) in [(1, 5), (20, 20), (400, 50)] {
            let mut pace = Pace::new(Pacing::Gentle, Unit::ROW, None);
            for _ in 0..60 {
                let time = Duration::from_secs_f64(2e-6 * pace.size() as f64);
                pace.learn(pace.size(), time, Duration::from_millis(commit));
            }
            let rows = work * 500;
            assert!((rows * 9 / 10..rows * 11 / 10).contains(&pace.size()), "{commit} ms: {}", pace.size());
        }
    }

    #[test]
    fn a_batch_is_cut_so_that_its_rests_are_within_it_but_no_more_than_its_work() {
        let of = |pacing, rows_per_ms: f64| {
            let mut pace = Pace::new(pacing, Unit::ROW, None);
            assert_eq!(pace.slices(1000).0, 1, "nothing is known yet");
            for _ in 0..60 {
                let time = Duration::from_secs_f64(pace.size() as f64 / rows_per_ms / 1000.0);
                pace.learn(pace.size(), time, Duration::ZERO);
            }
            (pace.slices(pace.size()), pace.slices(0).0)
        };
        let one = (1, Duration::ZERO);
        let each = Duration::from_millis(1);
        assert!(matches!(of(Pacing::Gentle, 2000.0), ((6..=7, rest), 1) if rest == each));
        assert!(matches!(of(Pacing::DutyCycle(0.1), 2000.0), ((8, rest), 1) if rest == each));
        assert_eq!(of(Pacing::DutyCycle(0.9), 2000.0).0, one, "the rest is less than the server can keep");
        assert_eq!(of(Pacing::Full, 2000.0).0, one);
        assert_eq!(of(Pacing::Gentle, 0.1).0.0, 4, "1,000 rows, however slow");
        assert_eq!(of(Pacing::Gentle, 1e9).0, one, "too quick to be cut");
    }

    #[test]
    fn gentle_rests_a_little_longer_than_it_worked() {
        let time = Duration::from_millis(45);
        let rest = Pace::new(Pacing::Gentle, Unit::ROW, None).rest_after(1000, time);
        assert_eq!(rest.as_millis(), 55);
        assert_eq!(Pace::new(Pacing::Full, Unit::ROW, None).rest_after(1000, time), Duration::ZERO);
    }

    #[test]
    fn a_rate_and_a_share_are_kept_by_resting() {
        let time = Duration::from_millis(30);
        let share = Pace::new(Pacing::DutyCycle(0.25), Unit::ROW, None);
        assert_eq!(share.rest_after(1000, time), time * 3);
        let mut rate = Pace::new(Pacing::RowsPerSecond(200), Unit::ROW, None);
        assert_eq!(rate.size(), 200);
        rate.learn(200, time, Duration::ZERO);
        assert_eq!(rate.rest_after(200, time), Duration::from_millis(970));
        assert_eq!(rate.rest_after(2, time), Duration::ZERO, "a batch that found little needs no rest");
        assert_eq!(rate.size(), 200, "a second's worth is the most");
    }
}
