//! What a text means: canonical text, zones, description, errors; nothing panics.

use jiff::SignedDuration;
use proptest::prelude::*;
use uuid::Uuid;

use super::{super::*, at, schedule, seed};
use crate::error::{Error, ErrorKind};

fn error(text: &str) -> String {
    match Schedule::parse(text, None, &seed()) {
        Ok(schedule) => panic!("{text} was read as {schedule}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn texts_become_canonical_and_describe_themselves() {
    for (text, canonical, english) in [
        ("0 3 * * *", "0 3 * * *", "every day at 03:00 UTC"),
        ("  CRON  '0  3 * * *' ", "0 3 * * *", "every day at 03:00 UTC"),
        (
            "cron \"0 9 * * mon-fri\" Asia/Tokyo",
            "0 9 * * MON-FRI",
            "at 09:00, on Monday, Tuesday, Wednesday, Thursday, and Friday (Asia/Tokyo)",
        ),
        ("*/30 * * * *", "*/30 * * * *", "every 30 minutes (UTC)"),
        ("@Daily", "@daily", "every day at 00:00 UTC"),
        ("EVERY 45M", "every 45m", "every 45m"),
        ("every 1h30m", "every 1h 30m", "every 1h 30m"),
        ("every 2 days", "every 2d", "every 2d, by the calendar of UTC"),
        ("every P1M Europe/Paris", "every 1mo", "every 1mo, by the calendar of Europe/Paris"),
        ("after 45m", "after 45m", "45m from the end of the last run"),
        ("daily 03:00 europe/paris", "daily 03:00", "every day at 03:00 Europe/Paris"),
        ("daily at 3:00:30", "daily 03:00:30", "every day at 03:00:30 UTC"),
        ("at start", "at start", "when the first replica starts"),
        ("At  Deploy", "at deploy", "after each deploy"),
        (
            "at start , then after 1h",
            "at start, then after 1h",
            "when the first replica starts, and 1h from the end of the last run",
        ),
        (
            "at start, at deploy, 0 3,4 * * *",
            "at start, at deploy, then 0 3,4 * * *",
            "when the first replica starts, and after each deploy, and at minute 0, of hour 3 and 4 (UTC)",
        ),
        ("once 2027-01-01T00:00Z", "once 2027-01-01T00:00:00Z", "once, at 2027-01-01 00:00:00 UTC"),
        (
            "once 2027-01-01 03:00 Europe/Paris",
            "once 2027-01-01T02:00:00Z",
            "once, at 2027-01-01 03:00:00 Europe/Paris",
        ),
        (
            "once 2027-01-01T03:00[Europe/Paris]",
            "once 2027-01-01T02:00:00Z",
            "once, at 2027-01-01 03:00:00 Europe/Paris",
        ),
        ("manual", "manual", "only when asked to"),
    ] {
        let read = schedule(text);
        assert_eq!((read.text(), read.describe().as_str()), (canonical, english), "{text}");
        let again = Schedule::parse(read.text(), Some(read.time_zone()), &seed()).unwrap();
        assert_eq!((again.text(), again.time_zone()), (read.text(), read.time_zone()), "{text}");
        let shown = schedule(&read.to_string());
        assert_eq!(shown.text(), read.text(), "{text}");
        assert_eq!(shown.next_after(at("2026-05-05T05:05:05Z")), read.next_after(at("2026-05-05T05:05:05Z")));
    }
}

#[test]
fn debug_is_short() {
    assert_eq!(format!("{:?}", schedule("0 3 * * * Europe/Paris")), "Schedule(\"0 3 * * *\", Europe/Paris)");
}

#[test]
fn the_zone_stands_in_the_text_or_beside_it_but_not_differently_in_both() {
    let beside = |text, zone| Schedule::parse(text, Some(zone), &seed());
    assert_eq!(schedule("daily 03:00").time_zone(), "UTC");
    assert_eq!(beside("daily 03:00", "america/new_york").unwrap().time_zone(), "America/New_York");
    assert_eq!(beside("daily 03:00 Europe/Paris", "Europe/Paris").unwrap().time_zone(), "Europe/Paris");
    let error = beside("daily 03:00 Europe/Paris", "UTC").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the schedule names zone Europe/Paris, time_zone UTC (column 13); leave one of them away"
    );
    assert_eq!(error.place(), Some(12..24));
    let error = beside("daily 03:00", "Europe/Pari").unwrap_err();
    assert_eq!(error.to_string(), "unknown time zone `Europe/Pari`; did you mean `Europe/Paris`?");
    assert_eq!(error.place(), None);
}

#[test]
fn local_instants_are_read_in_the_job_s_zone() {
    let once = Schedule::parse("once 2027-07-01T03:00", Some("Europe/Paris"), &seed()).unwrap();
    assert_eq!(once.first(at("2026-01-01T00:00Z")), Some(at("2027-07-01T01:00Z")));
    assert_eq!(once.first(at("2027-07-01T01:00Z")), None, "what is past never comes");
}

#[test]
fn errors_say_what_is_wrong_where_and_what_would_be_right() {
    for (text, expected) in [
        ("evry 5m", "unknown word `evry` (column 1); did you mean `every 5m`?"),
        ("dayly", "unknown word `dayly` (column 1); did you mean `daily`?"),
        ("  dayly 03:00", "unknown word `dayly` (column 3); did you mean `daily 03:00`?"),
        ("5m", "unknown word `5m` (column 1); write `every 5m`"),
        ("03:00", "unknown word `03:00` (column 1); write `daily 03:00`"),
        ("Hourly", "unknown word `Hourly` (column 1); write `@hourly`"),
        (
            "daily 03:00 Europe/Pari",
            "unknown time zone `Europe/Pari` (column 13); did you mean `Europe/Paris`?",
        ),
        (
            "daily 03:00 Mars",
            "unknown time zone `Mars` (column 13); zones are named as in the IANA database: `Europe/Paris`, \
             `America/New_York`, `UTC`",
        ),
        ("daily", "the time of day is missing (column 6); write `daily 03:00` or `daily 15:30 Europe/Paris`"),
        (
            "daily 25:00",
            "`25:00` is no time of day (column 7); write `daily 03:00` or `daily 15:30 Europe/Paris`",
        ),
        (
            "every",
            "how long is missing after `every` (column 6); write `every 45m`, `every 1h 30m` or `every 2 days`",
        ),
        (
            "every 30",
            "`30` is no length of time (column 7); say of what: `every 30s`, `every 30m`, `every 30h`",
        ),
        ("every day", "`day` is no length of time (column 7); write `every 1 day`"),
        ("every day at 03:00", "`day at 03:00` is no length of time (column 7); did you mean `daily 03:00`?"),
        (
            "every 0s",
            "`0s` is not a positive length of time (column 7); write `every 45m`; the shortest is `every 1s`",
        ),
        (
            "after 5m ago",
            "`5m ago` is not a positive length of time (column 7); write `after 45m`; the shortest is `after 1s`",
        ),
        (
            "every 500ms",
            "`500ms` is under a second (column 7); write `every 45m`; the shortest is `every 1s`",
        ),
        ("at 03:00", "`at 03:00` is no schedule (column 4); did you mean `daily 03:00`?"),
        ("at strat", "`at strat` is no schedule (column 4); did you mean `at start`?"),
        (
            "at start after 1h",
            "`after 1h` is unexpected here (column 10); a rule that follows is set off by a comma: `at start, then \
             after 1h`",
        ),
        (
            "at start, then",
            "nothing follows the comma (column 15); a rule that follows is set off by a comma: `at start, then \
             after 1h`",
        ),
        ("every 1h, at start", "`at start` comes first (column 11); write `at start, then every 1h`"),
        (
            "every 1h, then daily 03:00",
            "a schedule has one rule at most (column 11); only `at start` and `at deploy` go before a rule",
        ),
        (
            "at start, manual",
            "only a rule that repeats goes with `at start` or `at deploy` (column 11); write `at start, then every \
             1h`, or leave the rest away",
        ),
        ("manual 5m", "`5m` is unexpected after `manual` (column 8); `manual` stands alone"),
        (
            "once upon a time",
            "`upon a time` is no date and time (column 6); write `once 2027-01-01T00:00Z` or `once 2027-01-01 03:00 \
             Europe/Paris`",
        ),
        (
            "daily 03:00:00.5",
            "`03:00:00.5` is no time of day (column 7); write `daily 03:00` or `daily 15:30 Europe/Paris`",
        ),
        (
            "once 2027-01-01T03:00[Europe/Paris] Asia/Tokyo",
            "`Asia/Tokyo` is a second time zone (column 37); leave one of them away",
        ),
        (
            "0 0 3 * * *",
            "a cron pattern has 5 fields (minute hour day month weekday), not 6 (column 1); without seconds it is `0 \
             3 * * *`",
        ),
        (
            "*/10 * * * * *",
            "a cron pattern has 5 fields (minute hour day month weekday), not 6 (column 1); there is no field for \
             seconds: `every 10s` runs several times a minute",
        ),
        (
            "cron 0 3 * *",
            "a cron pattern has 5 fields (minute hour day month weekday), not 4 (column 6); `0 3 * * *` is every day \
             at 03:00",
        ),
        (
            "@reboot",
            "unknown nickname `@reboot` (column 1); `at start` runs when a replica starts and no other is alive",
        ),
        ("@dayly", "unknown nickname `@dayly` (column 1); did you mean `@daily`?"),
        (
            "0 24 * * *",
            "`24` is no hour of a cron pattern: number out of bounds (column 3); \
             the hour takes 0-23, lists, ranges, steps as in */2, and H",
        ),
        (
            "cron MON 3 * * *",
            "`MON` is no minute of a cron pattern (column 6); the minute takes 0-59, lists, ranges, steps as in */2, \
             and H",
        ),
        (
            "0 3 * * FRY",
            "`FRY` is no weekday of a cron pattern (column 9); the weekday takes 0-7, SUN-SAT, FRI#2 or FRI#L, \
             lists, ranges, steps as in */2, and H",
        ),
        (
            "0 3,,4 * * *",
            "`3,,4` is no hour of a cron pattern: a part of the list is empty (column 3); the hour takes 0-23, \
             lists, ranges, steps as in */2, and H",
        ),
        (
            "0 0 31 2 *",
            "`0 0 31 2 *` never comes in UTC (column 1); no date has that day, month and weekday, or the clock never \
             shows that time then",
        ),
        (
            "every 9000 years",
            "`every 9000y` never comes in UTC (column 1); it lies beyond the year 9999, where time ends here",
        ),
        (
            "*/30 2 * 3 +SUN#2 America/New_York",
            "`*/30 2 * 3 +SUN#2` never comes in America/New_York (column 1); no date has that day, month and \
             weekday, or the clock never shows that time then",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert!(error(" ").starts_with("the schedule is empty (column"), "{}", error(" "));
}

#[test]
fn as_the_crate_s_error_it_keeps_the_remedy_apart() {
    let error = Error::from(Schedule::parse("evry 5m", None, &seed()).unwrap_err()).about("job audit-logs");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "job audit-logs: unknown word `evry` (column 1)");
    assert_eq!(error.remedy(), Some("did you mean `every 5m`?"));
}

#[test]
fn policies_for_missed_runs_are_read_and_written() {
    for (text, policy) in [("once", Missed::Once), ("Skip", Missed::Skip), (" each( 10 )", Missed::Each(10))]
    {
        assert_eq!(text.parse(), Ok(policy));
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    let error = |text: &str| text.parse::<Missed>().unwrap_err().to_string();
    assert_eq!(error("skipp"), "unknown policy for missed runs `skipp` (column 1); did you mean `skip`?");
    for text in ["each", "each(0)", "each(-1)", "each(99999)", "each 3"] {
        assert!(error(text).contains("`each(10)`"), "{text}: {}", error(text));
    }
}

#[test]
fn hashed_fields_are_the_job_s_own_and_stay_so() {
    let hours_minutes = |text: &str, job: &str| {
        let seed = Seed::new(Uuid::from_u128(7), job);
        let schedule = Schedule::parse(text, None, &seed).unwrap();
        assert_eq!(schedule.text(), text);
        let first = schedule.first(at("2026-01-01T00:00Z")).unwrap();
        jiff::tz::TimeZone::UTC.to_datetime(first)
    };
    // Computed apart from this program. They are a contract: a change moves every job of every installation.
    assert_eq!(hours_minutes("H H * * *", "audit-logs").time(), jiff::civil::time(17, 44, 0, 0));
    assert_eq!(hours_minutes("H H * * *", "sessions").time(), jiff::civil::time(18, 22, 0, 0));
    let minutes: std::collections::BTreeSet<i8> = (0..400)
        .map(|job| hours_minutes("H(10-29) * * * *", &format!("job-{job}")).minute())
        .inspect(|minute| assert!((10..30).contains(minute)))
        .collect();
    assert_eq!(minutes.len(), 20, "every minute of the range is used by some job");
}

#[test]
fn hashed_steps_repeat_over_the_whole_range() {
    let quarter = schedule("H/15 * * * *");
    let instants: Vec<_> = quarter.upcoming(at("2026-01-01T00:00Z"), 8).collect();
    let apart = |pair: &[jiff::Timestamp]| pair[1].duration_since(pair[0]) == SignedDuration::from_mins(15);
    assert!(instants.windows(2).all(apart), "{instants:?}");
    for text in ["H(30-10) * * * *", "H(1 * * * *", "H/0 * * * *", "H(0-99) * * * *", "Hx * * * *"] {
        assert!(Schedule::parse(text, None, &seed()).is_err(), "{text}");
    }
}

#[test]
fn jitter_is_a_fixed_share_below_its_bound() {
    let max = SignedDuration::from_secs(60);
    let shares: Vec<_> = (0..1000)
        .map(|job| Seed::new(Uuid::from_u128(7), &format!("job-{job}")).jitter(max))
        .inspect(|share| assert!((SignedDuration::ZERO..max).contains(share)))
        .collect();
    let low = shares.iter().filter(|share| **share < SignedDuration::from_secs(30)).count();
    assert!((400..600).contains(&low), "spread evenly: {low} of 1000 in the lower half");
    assert_eq!(seed().jitter(SignedDuration::ZERO), SignedDuration::ZERO);
    assert_eq!(seed().jitter(SignedDuration::from_secs(-5)), SignedDuration::ZERO);
    assert_eq!(seed().jitter(max), SignedDuration::from_micros(59_825_905));
}

/// Words that get deep into the reader, and some that do not.
fn scraps() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "every",
        "after",
        "daily",
        "at",
        "start",
        "deploy",
        "then",
        ",",
        "once",
        "manual",
        "cron",
        "0",
        "*/5",
        "H",
        "H(1-5)/2",
        "1-5",
        "L",
        "15W",
        "LW",
        "MON#2",
        "5L",
        "+FRI",
        "?",
        "\"",
        "'",
        "@daily",
        "@",
        "45m",
        "2 days",
        "-1h",
        "P1M",
        "9999999999999999h",
        "19998 years",
        "03:00",
        "Europe/Paris",
        "Europe/Pari",
        "é",
        "ß",
        "\u{a0}",
        "9999-12-31T23:59:59Z",
        "-009999-01-01T00:00",
        "[Europe/Paris]",
        "2027-01-01T00:00",
        "/",
        "#",
        "-",
        "65535",
        "*/65535",
        "99999999999999999999",
    ]);
    let gap = prop::sample::select(vec!["", " ", "  "]);
    prop::collection::vec((words, gap), 0..8)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reading_never_panics_and_errors_point_into_the_text(text in prop_oneof![scraps(), any::<String>()]) {
        match Schedule::parse(&text, None, &seed()) {
            Ok(schedule) => {
                let again = Schedule::parse(schedule.text(), Some(schedule.time_zone()), &seed());
                prop_assert_eq!(again.map(|again| again.text().to_owned()), Ok(schedule.text().to_owned()));
                prop_assert!(!schedule.describe().is_empty());
            }
            Err(error) => {
                let place = error.place().expect("there is no zone beside it");
                prop_assert!(text.get(place).is_some());
            }
        }
        let _ = text.parse::<Missed>();
    }
}
