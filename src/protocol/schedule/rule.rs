//! The rules by which instants follow each other, once read: wall times, periods, a single instant, none.
//!
//! No text here and no policy about missed runs. What is easy to get wrong: a period in days, weeks, months or
//! years keeps the wall time of the zone, one in hours or less is real time, so `1 day` and `24h` differ over a
//! change of the clock.

use jiff::{SignedDuration, Span, Timestamp, tz::TimeZone};

use super::{wall::WallTimes, zone::first_shown};

/// By which rule the regular instants of a job follow each other.
#[derive(Clone)]
pub(super) enum Rule {
    /// Cron patterns and `daily`.
    Wall(WallTimes),
    /// A grid: one period after the other.
    Every(Period),
    /// A period from the end of the last run.
    After(Period),
    /// A single instant.
    Once(Timestamp),
    /// No instant: run by hand, at a start or at a deploy only.
    Never,
}

/// How many instants were passed, and up to where: the next instant after `position` is the first not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) count: u64,
    pub(super) position: Timestamp,
}

impl Rule {
    /// The first instant strictly later than `after` (for `Every` and `After`: one period later).
    pub(super) fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        match self {
            Rule::Wall(times) => times.next_after(zone, after),
            Rule::Every(period) | Rule::After(period) => period.later(zone, after),
            Rule::Once(instant) => Some(*instant).filter(|instant| *instant > after),
            Rule::Never => None,
        }
    }

    /// Counts the instants in `(after, until]`, at most `limit` of them. Exact, however many there are.
    pub(super) fn pass(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, limit: u64) -> Passed {
        match self {
            Rule::Wall(times) => times.pass(zone, after, until, limit),
            Rule::Every(period) => period.pass(zone, after, until, limit),
            Rule::Once(instant) if limit > 0 && *instant > after && *instant <= until => {
                Passed { count: 1, position: *instant }
            }
            // What follows the end of a run does not pass by itself.
            Rule::After(_) | Rule::Once(_) | Rule::Never => Passed { count: 0, position: after },
        }
    }
}

/// A length of time, positive, at least a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    /// Years to days, which the calendar gives their length.
    calendar: Span,
    /// Hours and less.
    clock: SignedDuration,
}

impl Period {
    /// Reads a span. None if it is not positive, shorter than a second, or beyond all measure.
    pub(super) fn new(span: Span) -> Option<Self> {
        let calendar = span.hours(0).minutes(0).seconds(0).milliseconds(0).microseconds(0).nanoseconds(0);
        let clock = SignedDuration::try_from(span.years(0).months(0).weeks(0).days(0)).ok()?;
        let clock = SignedDuration::from_micros(i64::try_from(clock.as_micros()).ok()?);
        let enough = !calendar.is_zero() || clock >= SignedDuration::from_secs(1);
        (span.signum() > 0 && enough).then_some(Period { calendar, clock })
    }

    /// Whether its length depends on the calendar, hence its instants on the time zone.
    pub(super) fn is_calendar(&self) -> bool {
        !self.calendar.is_zero()
    }

    /// One period later, in whole microseconds as Postgres keeps them.
    fn later(&self, zone: &TimeZone, from: Timestamp) -> Option<Timestamp> {
        let from = whole_micros(from)?;
        let mut later = from;
        if self.is_calendar() {
            later = first_shown(zone, zone.to_datetime(from).checked_add(self.calendar).ok()?)?;
        }
        later.checked_add(self.clock).ok().filter(|later| *later > from)
    }

    fn pass(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, limit: u64) -> Passed {
        if self.is_calendar() {
            return self.pass_stepwise(zone, after, until, limit);
        }
        let from = after.as_microsecond();
        let period = i64::try_from(self.clock.as_micros()).unwrap_or(i64::MAX).max(1);
        let elapsed = until.as_microsecond().saturating_sub(from).max(0) / period;
        let count = elapsed.unsigned_abs().min(limit);
        let offset = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(period);
        match Timestamp::from_microsecond(from.saturating_add(offset)) {
            Ok(position) if count > 0 => Passed { count, position },
            _ => Passed { count: 0, position: after },
        }
    }

    /// One after the other, since months differ. At least a day each, so that a century takes 36,525 steps.
    fn pass_stepwise(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, limit: u64) -> Passed {
        let mut passed = Passed { count: 0, position: after };
        while passed.count < limit {
            match self.later(zone, passed.position) {
                Some(next) if next <= until => passed = Passed { count: passed.count + 1, position: next },
                _ => break,
            }
        }
        passed
    }
}

/// The instant in whole microseconds: Postgres would not give back what is below.
pub(super) fn whole_micros(instant: Timestamp) -> Option<Timestamp> {
    Timestamp::from_microsecond(instant.as_microsecond()).ok()
}
