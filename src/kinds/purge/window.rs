//! The hours in which a purge may work, such as `22:00-05:00 Europe/Paris`.
//!
//! Both ends are wall clocks of one zone, and the first may be later than the second: then the window spans midnight.
//! What is easy to get wrong: where the clocks change, a window is an hour shorter or longer, so its end is found on
//! the calendar and never by adding hours. An end that the clocks leap over is the instant after the leap.

use jiff::{SignedDuration, Span, Timestamp, civil::Time, tz::TimeZone};
use serde::{Deserialize, Deserializer, de};

/// A daily window. Its first end is inclusive, its second exclusive, and they differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    text: String,
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl Window {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For how long it is closed on a day whose clocks do not change.
    pub fn closed_for(&self) -> SignedDuration {
        let closed = self.to.duration_until(self.from);
        if closed.is_negative() { closed + SignedDuration::from_hours(24) } else { closed }
    }

    /// When the window closes that is open at `now`; `None` if none is.
    pub fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let closes = self.next(self.to, now)?;
        let opens = self.next(self.from, now)?;
        // Of the two ends, the one that comes first tells on which side of it `now` is.
        (closes < opens).then_some(closes)
    }

    /// When it opens next, after `now`.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        self.next(self.from, now)
    }

    /// The next instant after `now` at which the zone's clocks show `time`.
    fn next(&self, time: Time, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        (-1..=2).find_map(|days| {
            let day = today.checked_add(Span::new().days(days)).ok()?;
            let at = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp();
            (at > now).then_some(at)
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("\"{text}\" {what}; write a window such as \"22:00-05:00 Europe/Paris\"");
        let mut words = text.split_whitespace();
        let (Some(hours), zone, None) = (words.next(), words.next(), words.next()) else {
            return Err(wrong("is no window"));
        };
        let zone = zone.unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|_| wrong(&format!("has an unknown time zone, {zone}")))?;
        let (from, to) = hours.split_once('-').ok_or_else(|| wrong("has no end"))?;
        let clock = |text: &str| Time::strptime("%H:%M", text).map_err(|_| wrong("has hours that are none"));
        let (from, to) = (clock(from)?, clock(to)?);
        if from == to {
            return Err(wrong("is empty"));
        }
        Ok(Window { text: text.to_owned(), from, to, zone })
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Window::parse(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn closes(window: &str, now: &str) -> Option<String> {
        let window = Window::parse(window).expect("a window");
        window.closes(at(now)).map(|at| at.to_string())
    }

    #[test]
    fn it_is_open_from_its_first_end_up_to_its_second() {
        for (now, until) in [
            ("2026-07-01T19:59:59Z", None),
            ("2026-07-01T20:00:00Z", Some("2026-07-02T03:00:00Z")),
            ("2026-07-02T02:59:59Z", Some("2026-07-02T03:00:00Z")),
            ("2026-07-02T03:00:00Z", None),
        ] {
            assert_eq!(closes("22:00-05:00 Europe/Paris", now).as_deref(), until, "{now}");
        }
        assert_eq!(closes("09:00-17:30", "2026-07-01T12:00:00Z").as_deref(), Some("2026-07-01T17:30:00Z"));
        assert_eq!(closes("09:00-17:30", "2026-07-01T18:00:00Z"), None);
    }

    #[test]
    fn it_ends_by_the_calendar_where_the_clocks_change() {
        // From 22:00 to 05:00 that night it was six hours, and half a year later eight.
        let window = "22:00-05:00 Europe/Paris";
        assert_eq!(closes(window, "2026-03-28T21:00:00Z").as_deref(), Some("2026-03-29T03:00:00Z"));
        assert_eq!(closes(window, "2026-10-24T20:00:00Z").as_deref(), Some("2026-10-25T04:00:00Z"));
        // An end that the clocks leap over.
        let leapt = closes("22:00-02:30 Europe/Paris", "2026-03-28T23:00:00Z");
        assert_eq!(leapt.as_deref(), Some("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn it_opens_again() {
        let window = Window::parse("22:00-05:00 Europe/Paris").expect("a window");
        assert_eq!(window.opens(at("2026-07-02T03:00:00Z")), Some(at("2026-07-02T20:00:00Z")));
        assert_eq!(window.opens(at("2026-07-01T20:00:00Z")), Some(at("2026-07-02T20:00:00Z")));
    }

    #[test]
    fn what_is_no_window_is_said() {
        for (text, part) in [
            ("", "is no window"),
            ("22:00", "has no end"),
            ("22:00-25:00", "hours that are none"),
            ("22:00-22:00", "is empty"),
            ("22:00-05:00 Europe/Pari", "unknown time zone, Europe/Pari"),
            ("22:00-05:00 Europe/Paris daily", "is no window"),
        ] {
            let found = Window::parse(text).expect_err("it is none");
            assert!(found.contains(part), "{found}");
        }
    }
}
