//! Time zones: found by name, and what a wall clock there shows when.
//!
//! Everything about daylight saving rests on [`first_shown`]. What is easy to get wrong: a gap may be longer than
//! two hours (Casey, Antarctica: three; Samoa, December 2011: a day) and may end on another date than it began.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{self, AmbiguousOffset, TimeZone},
};

use super::{
    error::{ScheduleError, nearest},
    text::Piece,
};

/// A time zone with the name by which it was found.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) rules: TimeZone,
}

impl Zone {
    /// Universal time, the default.
    pub(super) fn utc() -> Self {
        Zone { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// The zone of this name in the IANA database, in whatever case it is written.
    pub(super) fn named(name: &str) -> Option<Self> {
        let looks_right = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'));
        if !looks_right {
            return None;
        }
        if name.eq_ignore_ascii_case("UTC") {
            return Some(Zone::utc());
        }
        let rules = tz::db().get(name).ok()?;
        let name = rules.iana_name()?.to_owned();
        Some(Zone { name, rules })
    }

    /// The zone that a piece of a schedule's text names.
    pub(super) fn read(piece: Piece<'_>) -> Result<Self, ScheduleError> {
        Zone::named(piece.text()).ok_or_else(|| {
            ScheduleError::at(piece, unknown(piece.text())).remedy_is(suggestion(piece.text()))
        })
    }

    /// The zone that stands beside the schedule's text, in a column of its own.
    pub(super) fn beside(name: &str) -> Result<Self, ScheduleError> {
        let name = name.trim();
        Zone::named(name).ok_or_else(|| ScheduleError::elsewhere(unknown(name)).remedy_is(suggestion(name)))
    }
}

fn unknown(name: &str) -> String {
    format!("unknown time zone `{name}`")
}

fn suggestion(name: &str) -> String {
    let names: Vec<String> = tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
    if names.is_empty() {
        return "this machine has no time zone database but UTC: install the package tzdata".to_owned();
    }
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "zones are named as in the IANA database: `Europe/Paris`, `America/New_York`, `UTC`".to_owned()
        }
    }
}

/// Parts a zone off the end of a text. What merely looks like one (`Europe/Pari`) counts, so that it is reported.
pub(super) fn split_zone(piece: Piece<'_>) -> (Piece<'_>, Option<Piece<'_>>) {
    let Some(last) = piece.words().last() else { return (piece, None) };
    if Zone::named(last.text()).is_some() || looks_like_a_region(last.text()) {
        let (rest, _) = piece.split_at(last.at() - piece.at());
        return (rest, Some(last));
    }
    (piece, None)
}

fn looks_like_a_region(word: &str) -> bool {
    word.split_once('/').is_some_and(|(region, place)| {
        region.len() >= 2
            && region.chars().all(|c| c.is_ascii_alphabetic())
            && place.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

/// The first instant at which the wall clock shows `wall` or, if it leaps over that, something later.
///
/// In an overlap that is the first pass, in a gap the gap's end. It never decreases from one wall time to a later
/// one, which is what keeps schedules in order. None outside the years that exist here.
pub(super) fn first_shown(zone: &TimeZone, wall: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // Going on by the old offset leads past the leap by less than its length.
            let past = before.to_timestamp(wall).ok()?;
            let leap = zone.preceding(past.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?).next()?;
            Some(leap.timestamp())
        }
    }
}
