//! Which backups are kept: the newest of each of the last n days, weeks, months and years.
//!
//! It decides from instants alone, by the calendar of UTC, and asks no clock: an installation that stood still for a year
//! loses nothing by it. What is easy to get wrong: "the last 7 days" are the last 7 days that have a backup.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// How many are kept of each; a rule that is left out keeps none by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// The newest ones, however close together.
    pub last: u32,
    /// The newest of each day.
    pub daily: u32,
    /// The newest of each week, which begins on Monday.
    pub weekly: u32,
    /// The newest of each month.
    pub monthly: u32,
    /// The newest of each year.
    pub yearly: u32,
}

impl Keep {
    /// Whether it would keep none but the newest.
    pub fn is_empty(&self) -> bool {
        *self == Keep::default()
    }
}

/// Tells the periods of one length apart.
type Period = fn(Timestamp) -> (i16, i8, i8);

/// Which of these are kept, given newest first: their indexes.
pub fn kept(keep: Keep, newest_first: &[Timestamp]) -> BTreeSet<usize> {
    let mut kept: BTreeSet<usize> = (0..newest_first.len()).take(keep.last as usize).collect();
    let rules: [(u32, Period); 4] =
        [(keep.daily, day), (keep.weekly, week), (keep.monthly, month), (keep.yearly, year)];
    for (count, period) in rules {
        let mut periods = BTreeSet::new();
        for (index, at) in newest_first.iter().enumerate() {
            if periods.len() == count as usize {
                break;
            }
            if periods.insert(period(*at)) {
                kept.insert(index);
            }
        }
    }
    kept
}

fn date(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn day(at: Timestamp) -> (i16, i8, i8) {
    let date = date(at);
    (date.year(), date.month(), date.day())
}

fn week(at: Timestamp) -> (i16, i8, i8) {
    let week = date(at).iso_week_date();
    (week.year(), week.week(), 0)
}

fn month(at: Timestamp) -> (i16, i8, i8) {
    (date(at).year(), date(at).month(), 0)
}

fn year(at: Timestamp) -> (i16, i8, i8) {
    (date(at).year(), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(keep: Keep, newest_first: &[&str]) -> Vec<String> {
        let instants: Vec<Timestamp> =
            newest_first.iter().map(|at| format!("{at}Z").parse().expect("an instant")).collect();
        kept(keep, &instants).into_iter().map(|index| newest_first[index].to_owned()).collect()
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let backups = [
            "2027-03-02T03:00", // Tuesday
            "2027-03-01T15:00", // Monday
            "2027-03-01T03:00",
            "2027-02-28T03:00", // Sunday: the week before
            "2027-02-20T03:00",
            "2027-01-31T03:00",
            "2026-12-31T03:00",
            "2025-06-01T03:00",
        ];
        let daily = Keep { daily: 2, ..Keep::default() };
        assert_eq!(kept_of(daily, &backups), ["2027-03-02T03:00", "2027-03-01T15:00"]);
        let weekly = Keep { weekly: 2, ..Keep::default() };
        assert_eq!(kept_of(weekly, &backups), ["2027-03-02T03:00", "2027-02-28T03:00"]);
        let monthly = Keep { monthly: 3, ..Keep::default() };
        assert_eq!(kept_of(monthly, &backups), ["2027-03-02T03:00", "2027-02-28T03:00", "2027-01-31T03:00"]);
        let yearly = Keep { yearly: 9, ..Keep::default() };
        assert_eq!(kept_of(yearly, &backups), ["2027-03-02T03:00", "2026-12-31T03:00", "2025-06-01T03:00"]);
        let last = Keep { last: 3, ..Keep::default() };
        assert_eq!(kept_of(last, &backups).len(), 3);
    }

    #[test]
    fn rules_add_up_and_a_week_may_span_two_years() {
        let backups = ["2027-01-02T03:00", "2026-12-31T03:00", "2026-12-20T03:00"];
        let both = Keep { weekly: 1, yearly: 2, ..Keep::default() };
        assert_eq!(kept_of(both, &backups), ["2027-01-02T03:00", "2026-12-31T03:00"]);
        let weekly = Keep { weekly: 2, ..Keep::default() };
        assert_eq!(kept_of(weekly, &backups), ["2027-01-02T03:00", "2026-12-20T03:00"]);
    }
}
