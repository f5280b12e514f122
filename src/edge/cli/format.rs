//! Numbers, times and spans as people read them.
//!
//! What is easy to get wrong: "in 5 m" is by the database's clock, which the caller passes; this machine's may be off.

use jiff::{Timestamp, tz::TimeZone};

use crate::error::{Error, Result};

/// `1,234,567`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `3.4 MiB`.
pub(super) fn bytes(number: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (number.max(0) as f64, 0);
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{size:.0} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// `85 ms`, `3.2 s`, `4m 05s`, `2h 10m`, `3d 4h`.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {:02}s", whole % 60),
        (0, _) => format!("{hours}h {:02}m", minutes % 60),
        (..7, _) => format!("{days}d {}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// `in 5m 00s`, `3.2 s ago`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.duration_since(now).as_secs_f64();
    if seconds > 0.0 { format!("in {}", span(seconds)) } else { format!("{} ago", span(-seconds)) }
}

/// An instant in a zone, to the second: `2026-11-22 03:00:00 Europe/Paris`.
pub(super) fn instant(at: Timestamp, zone: &str) -> String {
    let (zone, name) = match TimeZone::get(zone) {
        Ok(found) => (found, zone),
        Err(_) => (TimeZone::UTC, "UTC"),
    };
    format!("{} {name}", at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S"))
}

/// An instant in UTC, to the second, as RFC 3339 has it.
pub(super) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An instant to come, as typed: RFC 3339, or a span from now on (`2h`, `3 days`).
pub(super) fn read_until(text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let wrong = || {
        Error::invalid(format!("\"{text}\" is neither an instant nor a span of time"))
            .about("--until")
            .with_remedy("Write `2h`, `3 days` or `2027-01-01T00:00Z`.")
    };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let at = now.to_zoned(TimeZone::UTC).checked_add(span).map_err(|_| wrong())?.timestamp();
    if at <= now { Err(wrong()) } else { Ok(at) }
}

/// A span of time, as typed: `5m`, `90 s`.
pub(super) fn read_span(text: &str) -> std::result::Result<std::time::Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| "write a span such as `5m` or `90s`".to_owned())?;
    std::time::Duration::try_from(span).map_err(|_| "a span must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "-1,234,567"],
            [0, 999, 1000, -1_234_567].map(count).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn bytes_have_a_binary_unit() {
        let sizes = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 40, "5.0 TiB"),
        ];
        for (number, text) in sizes {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn spans_have_two_units_at_the_most() {
        let spans =
            [(0.085, "85 ms"), (0.9996, "1.0 s"), (59.96, "1m 00s"), (125.0, "2m 05s"), (7800.0, "2h 10m")];
        for (seconds, text) in spans {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(span(3.0 * 86_400.0 + 4.0 * 3600.0), "3d 4h");
        assert_eq!(span(40.0 * 86_400.0), "40d");
    }

    #[test]
    fn until_takes_instants_and_spans_to_come() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().expect("an instant");
        assert_eq!(read_until("2h", now).map(utc).ok().as_deref(), Some("2026-11-22T02:00:00Z"));
        assert_eq!(read_until("3 days", now).map(utc).ok().as_deref(), Some("2026-11-25T00:00:00Z"));
        assert_eq!(
            read_until("2027-01-01T00:00Z", now).map(utc).ok().as_deref(),
            Some("2027-01-01T00:00:00Z")
        );
        for wrong in ["soon", "-2h", ""] {
            assert!(read_until(wrong, now).is_err_and(|error| error.remedy().is_some()), "{wrong}");
        }
    }
}
