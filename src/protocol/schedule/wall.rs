//! Rules that look at the wall clock: some dates, some times of day, in a time zone.
//!
//! Cron patterns are read elsewhere (`cron.rs`, croner); which dates match is croner's word too. Which *instants*
//! follow is computed here and not by croner's own search: that gives up in gaps of more than two hours (Casey
//! has one of three), drops a dated time whose gap ends on the next date (Greenland has such), takes `2,3` for an interval, needs 124 ms to say
//! that 31 February never comes, and cannot count. What is easy to get wrong: in an overlap the clock shows a
//! time twice, and in a gap never, and the two [`Flow`]s want the opposite of each other in both.

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use super::{rule::Passed, zone::first_shown};

/// How far ahead a matching date is looked for. The rarest pattern that comes at all, 29 February on a given
/// weekday, takes up to 40 years, across 2100.
const HORIZON_YEARS: i16 = 50;

/// More than any overlap, so that a day that far from a change of the clock is an ordinary one.
const OVERLAP_MAX: SignedDuration = SignedDuration::from_hours(25);

/// What a rule means where the clock is put forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Each wall time of each date once: the first instant at which the clock shows it or something later.
    Wall,
    /// Whenever the clock shows it: both times in an overlap, not at all in a gap.
    Real,
}

/// The dates of a rule.
#[derive(Clone)]
pub(super) enum Dates {
    /// All of them.
    Every,
    /// Those that a cron pattern's day, month and weekday match.
    Matching(Box<croner::Cron>),
}

/// Times of day on some dates.
#[derive(Clone)]
pub(super) struct WallTimes {
    pub(super) dates: Dates,
    /// Ascending, distinct, at least one.
    pub(super) times: Vec<Time>,
    pub(super) flow: Flow,
}

impl WallTimes {
    /// The first instant strictly later than `after`.
    pub(super) fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        match self.flow {
            Flow::Wall => self.next_once(zone, after),
            Flow::Real => self.next_shown(zone, after),
        }
    }

    /// Counts the instants in `(after, until]`, at most `limit` of them, a whole day at a time where it can.
    pub(super) fn pass(&self, zone: &TimeZone, after: Timestamp, until: Timestamp, limit: u64) -> Passed {
        let mut passed = Passed { count: 0, position: after };
        while passed.count < limit {
            let rest = self.rest_of_ordinary_day(zone, passed.position);
            if let Some(rest) = rest.filter(|r| r.position <= until && passed.count + r.count <= limit) {
                passed = Passed { count: passed.count + rest.count, position: rest.position };
                continue;
            }
            match self.next_after(zone, passed.position) {
                Some(next) if next <= until => passed = Passed { count: passed.count + 1, position: next },
                _ => break,
            }
        }
        passed
    }

    /// How many instants follow on the same date, if no change of the clock is near, and the end of that date.
    fn rest_of_ordinary_day(&self, zone: &TimeZone, after: Timestamp) -> Option<Passed> {
        let shown = zone.to_datetime(after);
        let midnight = first_shown(zone, shown.date().tomorrow().ok()?.to_datetime(Time::midnight()))?;
        let end = midnight.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        let start = after.checked_sub(OVERLAP_MAX).ok()?;
        // A change at midnight counts: it may have leaped over the last hour before.
        if end <= after || zone.following(start).next().is_some_and(|change| change.timestamp() <= midnight) {
            return None;
        }
        let rest = match self.dates.include(shown.date()) {
            true => self.times.len() - self.times.partition_point(|time| *time <= shown.time()),
            false => 0,
        };
        Some(Passed { count: rest as u64, position: end })
    }

    fn next_once(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let shown = zone.to_datetime(after);
        let mut date = self.dates.first_from(shown.date())?;
        loop {
            // What the clock has passed by now has had its instant; in the second pass of an overlap, so has more.
            for wall in self.times.iter().map(|time| date.to_datetime(*time)).filter(|wall| *wall > shown) {
                let instant = first_shown(zone, wall)?;
                if instant > after {
                    return Some(instant);
                }
            }
            date = self.dates.first_from(date.tomorrow().ok()?)?;
        }
    }

    /// Goes from one change of the clock to the next: in between, wall time is real time plus an offset.
    fn next_shown(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let mut offset = zone.to_offset(after);
        let mut since = after;
        let mut from = offset.to_datetime(after).checked_add(1.nanosecond()).ok()?;
        let horizon = from.checked_add(HORIZON_YEARS.years()).ok()?;
        while from <= horizon {
            let instant = offset.to_timestamp(self.first_wall_from(from)?).ok()?;
            match zone.following(since).next() {
                Some(change) if change.timestamp() <= instant => {
                    (since, offset) = (change.timestamp(), change.offset());
                    from = offset.to_datetime(since);
                }
                _ => return Some(instant),
            }
        }
        None
    }

    fn first_wall_from(&self, from: DateTime) -> Option<DateTime> {
        let mut date = self.dates.first_from(from.date())?;
        if date == from.date() {
            if let Some(time) = self.times.iter().find(|time| **time >= from.time()) {
                return Some(date.to_datetime(*time));
            }
            date = self.dates.first_from(date.tomorrow().ok()?)?;
        }
        Some(date.to_datetime(*self.times.first()?))
    }
}

impl Dates {
    fn include(&self, date: Date) -> bool {
        match self {
            Dates::Every => true,
            Dates::Matching(cron) => month_matches(cron, date) && day_matches(cron, date),
        }
    }

    /// The first of the dates that is `from` or later, within the horizon.
    fn first_from(&self, from: Date) -> Option<Date> {
        let Dates::Matching(cron) = self else { return Some(from) };
        let last_year = from.year().saturating_add(HORIZON_YEARS);
        let mut date = from;
        while date.year() <= last_year {
            if !month_matches(cron, date) {
                date = date.last_of_month().tomorrow().ok()?;
            } else if day_matches(cron, date) {
                return Some(date);
            } else {
                date = date.tomorrow().ok()?;
            }
        }
        None
    }
}

fn month_matches(cron: &croner::Cron, date: Date) -> bool {
    cron.pattern.month_match(date.month().unsigned_abs().into()).unwrap_or(false)
}

fn day_matches(cron: &croner::Cron, date: Date) -> bool {
    let weekday = u32::from(date.weekday().to_sunday_zero_offset().unsigned_abs());
    let weekday = croner::Weekday::from_days_from_sunday(weekday);
    let (month, day) = (date.month().unsigned_abs().into(), date.day().unsigned_abs().into());
    cron.pattern.day_match(date.year().into(), month, day, weekday).unwrap_or(false)
}
