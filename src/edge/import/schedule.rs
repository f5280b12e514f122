//! When a job of pg_cron runs, as a schedule of Sexton; the few schedules of pg_timetable that are not cron's come as ours.
//!
//! What is easy to get wrong: pg_cron takes what Vixie's cron takes, and its own `30 seconds` and `$`. What it does not
//! take never ran there either, so no schedule is made up for it.

use uuid::Uuid;

use crate::protocol::schedule::{Schedule, Seed};

/// A schedule, and what a person should know of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    pub(super) note: Option<&'static str>,
}

/// The schedule that `theirs` means.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn translate(theirs: &str) -> Result<Translated, String> {
    let theirs = theirs.trim();
    let words: Vec<&str> = theirs.split_whitespace().collect();
    let translated = match words[..] {
        [count, "second" | "seconds"] => Translated { text: format!("every {count}s"), note: None },
        ["@reboot"] => {
            let note = "@reboot was the start of the server; this is that of the first replica";
            Translated { text: "at start".to_owned(), note: Some(note) }
        }
        [minute, hour, day, month, weekday] => Translated {
            text: format!("{minute} {hour} {} {month} {weekday}", day.replace('$', "L")),
            note: days(day, weekday),
        },
        _ => Translated { text: theirs.to_owned(), note: None },
    };
    match Schedule::parse(&translated.text, None, &Seed::new(Uuid::nil(), "import")) {
        Ok(_) => Ok(translated),
        Err(error) => Err(error.to_string()),
    }
}

/// With `*/2` in one of the two, cron wants both to fit; with lists in both, one of them.
fn days(day: &str, weekday: &str) -> Option<&'static str> {
    let step = |field: &str| field.starts_with('*') && field != "*";
    let both = day != "*" && weekday != "*";
    (both && (step(day) || step(weekday))).then_some(
        "day and weekday with a step: `sexton next` shows whether these are the days that you mean",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_translated() {
        for (theirs, ours) in [
            ("30 seconds", "every 30s"),
            ("1 second", "every 1s"),
            ("0 3 * * *", "0 3 * * *"),
            ("*/5 0-6 * * mon", "*/5 0-6 * * mon"),
            ("0 0 $ * *", "0 0 L * *"),
            ("@daily", "@daily"),
            ("@reboot", "at start"),
        ] {
            assert_eq!(translate(theirs).map(|translated| translated.text), Ok(ours.to_owned()), "{theirs}");
        }
        assert!(translate("0 0 */2 * 1").is_ok_and(|translated| translated.note.is_some()));
        assert!(translate("whenever").is_err());
    }
}
