//! Intervals and durations as people write them.
//!
//! A span of the calendar stays text: the database alone computes with it, since a month is no number of seconds. Here it is only
//! looked at, so that a mistake is named when the job is saved. What is easy to get wrong: PostgreSQL takes `30` for
//! 30 seconds *and* `''` for an error, and a minus sign makes a cutoff in the future.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// An interval in PostgreSQL's syntax, such as `30 days`, `1 year 6 months` or `P90D`; a bare integer is seconds. It
/// is never empty, zero or negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention(String);

impl Retention {
    /// As the database reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("is empty; {EXAMPLE}"));
        }
        if text.contains('-') || text.split_whitespace().any(|word| word.eq_ignore_ascii_case("ago")) {
            return Err(format!("\"{text}\" is negative or has a dash in it; {EXAMPLE}"));
        }
        if !text.contains(|c: char| c.is_ascii_digit()) || !is_interval(text) {
            return Err(format!("\"{text}\" is no interval; {EXAMPLE}"));
        }
        if !text.contains(|c: char| ('1'..='9').contains(&c)) {
            return Err(format!("\"{text}\" is zero, which would take every row; {EXAMPLE}"));
        }
        let seconds = text.bytes().all(|c| c.is_ascii_digit());
        Ok(Retention(if seconds { format!("{text} seconds") } else { text.to_owned() }))
    }
}

const EXAMPLE: &str = "write an interval such as \"30 days\" or \"6 months\"";

/// The units that PostgreSQL knows, without their plural.
const UNITS: &[&str] = &[
    "us",
    "usec",
    "microsecond",
    "ms",
    "msec",
    "millisecond",
    "s",
    "sec",
    "second",
    "m",
    "min",
    "minute",
    "h",
    "hr",
    "hour",
    "d",
    "day",
    "w",
    "week",
    "mon",
    "month",
    "y",
    "yr",
    "year",
    "decade",
    "century",
    "centurie",
    "c",
    "cent",
    "dec",
    "mil",
    "millennium",
    "millennia",
];

fn is_interval(text: &str) -> bool {
    if let Some(iso) = text.strip_prefix('P') {
        return iso.bytes().all(|c| c.is_ascii_digit() || b"YMWDTHS.".contains(&c));
    }
    let mut words = text.split_whitespace().flat_map(number_and_unit).peekable();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        let is_clock =
            word.contains(':') && word.bytes().all(|c| c.is_ascii_digit() || c == b':' || c == b'.');
        let is_number = word.bytes().all(|c| c.is_ascii_digit() || c == b'.');
        let alone = !text.contains(char::is_alphabetic);
        if is_clock || (is_number && (alone || words.next().is_some_and(is_unit))) {
            continue;
        }
        return false;
    }
    any
}

/// `30d` as `30` and `d`.
fn number_and_unit(word: &str) -> impl Iterator<Item = &str> {
    let at = word.find(char::is_alphabetic).unwrap_or(word.len());
    let (number, unit) = word.split_at(at);
    [number, unit].into_iter().filter(|part| !part.is_empty())
}

fn is_unit(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let singular = word.strip_suffix('s').filter(|singular| !singular.is_empty()).unwrap_or(&word);
    UNITS.contains(&singular) || UNITS.contains(&word.as_str())
}

/// A duration such as `10m` or `1h 30m`; a bare integer is seconds. It is never zero or negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Duration);

impl Limit {
    /// Reads it as [`Limit`] says.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let duration = match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => text
                .parse::<jiff::SignedDuration>()
                .ok()
                .and_then(|duration| Duration::try_from(duration).ok()),
        };
        match duration {
            Some(duration) if !duration.is_zero() => Ok(Limit(duration)),
            _ => Err(format!("\"{text}\" is no duration above zero; write one such as \"10m\" or \"2h\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Retention::parse(&from.deserialize_any(SecondsOrText(EXAMPLE))?).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Limit::parse(&from.deserialize_any(SecondsOrText("a duration such as \"10m\""))?)
            .map_err(de::Error::custom)
    }
}

/// A number or a text, both as text.
struct SecondsOrText(&'static str);

impl de::Visitor<'_> for SecondsOrText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a whole number of seconds", self.0.trim_start_matches("write "))
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<String, E> {
        Ok(seconds.to_string())
    }

    fn visit_i64<E>(self, seconds: i64) -> Result<String, E> {
        Ok(seconds.to_string())
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_postgres_knows_pass() {
        for text in
            ["30 days", "1 year 6 mons", "30d", "2 w", "P1Y2M", "PT36H", "30 days 12:00:00", "1.5 hours"]
        {
            assert_eq!(Retention::parse(text).map(|r| r.0), Ok(text.to_owned()));
        }
        assert_eq!(Retention::parse("3600").map(|r| r.0), Ok("3600 seconds".to_owned()));
    }

    #[test]
    fn what_would_take_every_row_is_refused() {
        for text in
            ["", " ", "0", "0 days", "00:00:00", "-1 day", "30 days ago", "P-30D", "1-2", "days", "30 dayz"]
        {
            assert!(Retention::parse(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn limits_are_durations_or_seconds() {
        assert_eq!(Limit::parse("10m"), Ok(Limit(Duration::from_secs(600))));
        assert_eq!(Limit::parse("1h 30m"), Ok(Limit(Duration::from_secs(5400))));
        assert_eq!(Limit::parse("90"), Ok(Limit(Duration::from_secs(90))));
        for text in ["", "0", "0s", "-5m", "soon"] {
            assert!(Limit::parse(text).is_err(), "{text:?} passed");
        }
    }
}
