//! Which instants follow: croner's table, and every change of the clock in every zone.

use std::collections::BTreeSet;

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    tz::{self, TimeZone},
};
use proptest::prelude::*;

use super::{super::*, at, between, schedule, seed};

/// The instants on one civil date, as a clock there shows them.
fn on(text: &str, zone: &str, date: &str) -> Vec<String> {
    let schedule = Schedule::parse(text, Some(zone), &seed()).unwrap();
    let rules = TimeZone::get(zone).unwrap();
    let date: Date = date.parse().unwrap();
    let start = rules.to_timestamp(date.to_datetime(Time::midnight())).unwrap();
    let start = start.checked_sub(SignedDuration::from_secs(1)).unwrap();
    let until = start.checked_add(SignedDuration::from_hours(26)).unwrap();
    let shown = between(&schedule, start, until).into_iter().map(|instant| rules.to_datetime(instant));
    shown
        .filter(|shown| shown.date() == date)
        .map(|shown| shown.time().strftime("%H:%M").to_string())
        .collect()
}

#[test]
fn wall_times_run_once_in_gaps_and_overlaps() {
    for (text, zone, date, expected) in [
        ("30 2 * * *", "America/New_York", "2026-03-08", vec!["03:00"]),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", vec!["03:00"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", vec!["01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", vec!["02:30"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-24", vec!["01:00"]),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-04", vec!["01:00"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-10-25", vec!["02:30", "03:30"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-29", vec!["03:00", "03:30"]),
        ("30 1-4 * * *", "Europe/Berlin", "2026-10-25", vec!["01:30", "02:30", "03:30", "04:30"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29", vec!["03:00"]),
        ("daily 02:30", "Europe/Berlin", "2026-03-29", vec!["03:00"]),
        ("daily 02:30:15", "Europe/Berlin", "2026-10-25", vec!["02:30"]),
        // A gap of three hours, and one that ends on the next date.
        ("30 0 * * *", "Antarctica/Casey", "2020-10-04", vec!["03:01"]),
        ("30 23 * * *", "America/Scoresbysund", "2025-03-30", vec!["00:00", "23:30"]),
        ("30 23 29 3 *", "America/Scoresbysund", "2025-03-30", vec!["00:00"]),
    ] {
        assert_eq!(on(text, zone, date), expected, "{text} {zone} {date}");
    }
}

#[test]
fn intervals_follow_real_time() {
    assert_eq!(on("*/30 * * * *", "America/New_York", "2026-11-01").len(), 50);
    assert_eq!(on("*/30 * * * *", "America/New_York", "2026-03-08").len(), 46);
    let expected =
        ["00:15", "04:15", "06:15", "08:15", "10:15", "12:15", "14:15", "16:15", "18:15", "20:15", "22:15"];
    assert_eq!(on("15 */2 * * *", "America/New_York", "2026-03-08"), expected);
    assert_eq!(on("0 * * * *", "Australia/Lord_Howe", "2026-10-04").len(), 23);
    assert_eq!(on("*/30 2 * * *", "Europe/Berlin", "2026-10-25"), ["02:00", "02:30", "02:00", "02:30"]);
    assert_eq!(on("*/30 2 * * *", "Europe/Berlin", "2026-03-29"), [""; 0]);
    assert_eq!(on("H/30 2 * * *", "Europe/Berlin", "2026-10-25").len(), 4);
    assert_eq!(on("H(0-29)/10 2 * * *", "Europe/Berlin", "2026-10-25").len(), 3, "numbers: wall times");
}

#[test]
fn days_are_matched_as_cron_does() {
    let dates = |text: &str, count: usize| -> Vec<String> {
        let instants = schedule(text).upcoming(at("2026-01-01T12:00Z"), count).collect::<Vec<_>>();
        instants.iter().map(|instant| instant.strftime("%m-%d").to_string()).collect()
    };
    assert_eq!(dates("0 0 L * *", 3), ["01-31", "02-28", "03-31"]);
    assert_eq!(dates("0 0 * * MON#2", 3), ["01-12", "02-09", "03-09"]);
    assert_eq!(dates("0 0 * * FRI#L", 2), ["01-30", "02-27"]);
    assert_eq!(dates("0 0 1 * MON", 4), ["01-05", "01-12", "01-19", "01-26"], "either, as POSIX has it");
    assert_eq!(dates("0 0 1 * +MON", 2), ["06-01", "02-01"], "both");
    assert_eq!(dates("0 0 1 JAN,jul *", 2), ["07-01", "01-01"]);
    assert_eq!(dates("0 0 * * 7", 1), ["01-04"]);
    assert_eq!(schedule("0 0 29 2 +MON").first(at("2072-03-01T00:00Z")), Some(at("2112-02-29T00:00Z")));
    for (nickname, next) in [
        ("@hourly", "2026-01-01T13:00Z"),
        ("@daily", "2026-01-02T00:00Z"),
        ("@weekly", "2026-01-04T00:00Z"),
        ("@monthly", "2026-02-01T00:00Z"),
        ("@yearly", "2027-01-01T00:00Z"),
    ] {
        assert_eq!(schedule(nickname).first(at("2026-01-01T12:00Z")), Some(at(next)), "{nickname}");
    }
}

#[test]
fn periods_step_from_the_last_instant() {
    let now = at("2026-03-28T02:30:00.123456789Z");
    assert_eq!(schedule("every 45m").first(now), Some(at("2026-03-28T03:15:00.123456Z")), "not at once");
    assert_eq!(schedule("after 1h30m").next_after(now), Some(at("2026-03-28T04:00:00.123456Z")));
    let paris = |text: &str, after: &str| {
        Schedule::parse(text, Some("Europe/Paris"), &seed())
            .unwrap()
            .next_after(at(after))
            .unwrap()
            .to_string()
    };
    // Over the spring change a day keeps the wall time and 24 hours do not.
    assert_eq!(paris("every 1 day", "2026-03-28T11:00Z"), "2026-03-29T10:00:00Z");
    assert_eq!(paris("every 24h", "2026-03-28T11:00Z"), "2026-03-29T11:00:00Z");
    assert_eq!(paris("every 1 day", "2026-03-28T01:30Z"), "2026-03-29T01:00:00Z", "the gap's end");
    assert_eq!(paris("every 1 month", "2026-01-31T11:00Z"), "2026-02-28T11:00:00Z");
    assert_eq!(paris("every 1 week", "2026-03-28T11:00Z"), "2026-04-04T10:00:00Z");
    assert_eq!(paris("every 1 day 6h", "2026-03-28T11:00Z"), "2026-03-29T16:00:00Z");
}

#[test]
fn some_schedules_have_no_regular_instant() {
    let now = at("2026-01-01T00:00Z");
    for (text, start, deploy) in
        [("manual", false, false), ("at start", true, false), ("at deploy", false, true)]
    {
        let schedule = schedule(text);
        assert_eq!((schedule.runs_at_start(), schedule.runs_at_deploy()), (start, deploy), "{text}");
        assert_eq!((schedule.first(now), schedule.upcoming(now, 3).count()), (None, 0), "{text}");
    }
    let both = schedule("at start, then after 1h");
    assert!(both.runs_at_start() && both.follows_last_run());
    assert_eq!(
        both.upcoming(now, 3).collect::<Vec<_>>(),
        [at("2026-01-01T01:00Z")],
        "later ones are not known"
    );
}

#[test]
fn the_end_of_time_is_no_panic() {
    for text in ["0 3 * * *", "*/5 * * * *", "every 1s", "every 1 month", "after 99 years", "daily 03:00"] {
        assert_eq!(schedule(text).next_after(Timestamp::MAX), None, "{text}");
        let _ = schedule(text).next_after(Timestamp::MIN);
    }
}

/// The first instant at which the clock shows `wall` or later, found by looking at the clock: the oracle.
fn first_shown_by_search(zone: &TimeZone, wall: DateTime) -> Timestamp {
    let near = wall.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let mut segment = near.checked_sub(SignedDuration::from_hours(72)).unwrap();
    loop {
        let reached = zone.to_offset(segment).to_timestamp(wall).unwrap().max(segment);
        match zone.following(segment).next() {
            Some(change) if change.timestamp() <= reached => segment = change.timestamp(),
            _ => return reached,
        }
    }
}

/// Every change of every zone's clock from 2000 to 2040, zones with the same changes taken once.
fn all_changes() -> Vec<(TimeZone, Timestamp)> {
    let (from, until) = (at("2000-01-01T00:00Z"), at("2040-01-01T00:00Z"));
    let mut seen = BTreeSet::new();
    let mut changes = Vec::new();
    for name in tz::db().available() {
        let Ok(zone) = tz::db().get(name.as_str()) else { continue };
        let times = zone.following(from).map(|change| change.timestamp()).take_while(|time| *time < until);
        let times: Vec<Timestamp> = times.collect();
        let offsets: Vec<_> = times.iter().map(|time| (*time, zone.to_offset(*time).seconds())).collect();
        if seen.insert((zone.to_offset(from).seconds(), offsets)) {
            changes.extend(times.into_iter().map(|time| (zone.clone(), time)));
        }
    }
    changes
}

#[test]
fn at_every_change_of_every_clock_a_daily_job_runs_once_a_date() {
    let changes = all_changes();
    assert!(changes.len() > 5_000, "the time zone database is there: {} changes", changes.len());
    for (zone, change) in changes {
        let name = zone.iana_name().unwrap();
        let second_before = change.checked_sub(SignedDuration::from_secs(1)).unwrap();
        let (before, after) = (zone.to_datetime(second_before), zone.to_datetime(change));
        // Around both edges, and half an hour into what is leaped over or shown twice.
        let edge = before.checked_add(1.second()).unwrap();
        for time in [edge, after, edge.min(after) + 30.minutes(), before.min(after)].map(|wall| wall.time()) {
            let text = format!("daily {}", time.strftime("%H:%M:%S"));
            let schedule = Schedule::parse(&text, Some(name), &seed()).unwrap();
            let first = edge.min(after).date() - 2.days();
            let last = edge.max(after).date() + 2.days();
            let mut expected: Vec<Timestamp> = first
                .series(1.day())
                .take_while(|date| *date <= last)
                .map(|date| first_shown_by_search(&zone, date.to_datetime(time)))
                .collect();
            expected.dedup();
            let start = expected[0].checked_sub(SignedDuration::from_secs(1)).unwrap();
            let found: Vec<_> = schedule.upcoming(start, expected.len()).collect();
            assert_eq!(found, expected, "{text} {name} at {change}");
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{text} {name} at {change}");
            let passed = schedule.pass(start, *found.last().unwrap(), u64::MAX);
            assert_eq!(passed.count, found.len() as u64, "{text} {name} at {change}");
        }
    }
}

#[test]
fn around_changes_of_the_clock_counting_in_bulk_is_counting_one_by_one() {
    for (index, (zone, change)) in all_changes().into_iter().enumerate().step_by(7) {
        let name = zone.iana_name().unwrap();
        // Not always the same distance from midnight.
        let start = change - SignedDuration::from_mins(1_500 + (index as i64 * 37) % 1_440);
        let until = change + SignedDuration::from_hours(30);
        for text in ["*/30 * * * *", "0,30 0-23 * * *"] {
            let schedule = Schedule::parse(text, Some(name), &seed()).unwrap();
            let singly = between(&schedule, start, until).len() as u64;
            assert_eq!(schedule.pass(start, until, u64::MAX).count, singly, "{text} {name} at {change}");
        }
    }
}

#[test]
fn in_the_second_pass_the_overlap_s_wall_times_are_over() {
    let schedule = Schedule::parse("30 2,3 * * *", Some("Europe/Berlin"), &seed()).unwrap();
    // 02:10 for the second time, to the end of that date.
    let (second_pass, midnight) = (at("2026-10-25T01:10Z"), at("2026-10-25T23:00Z"));
    assert_eq!(between(&schedule, second_pass, midnight), [at("2026-10-25T02:30Z")]);
    assert_eq!(schedule.pass(second_pass, midnight, u64::MAX).count, 1);
}

#[test]
fn at_every_change_of_every_clock_an_interval_follows_what_is_shown() {
    let quarter_hours = |zone: &TimeZone, start: Timestamp, until: Timestamp| {
        let mut minutes = Vec::new();
        let mut minute = Timestamp::from_second(start.as_second().div_euclid(60) * 60).unwrap();
        while minute <= until {
            let shown = zone.to_datetime(minute);
            if minute > start && shown.minute() % 15 == 0 && shown.second() == 0 {
                minutes.push(minute);
            }
            minute += SignedDuration::from_mins(1);
        }
        minutes
    };
    for (zone, change) in all_changes() {
        let name = zone.iana_name().unwrap();
        let schedule = Schedule::parse("*/15 * * * *", Some(name), &seed()).unwrap();
        let start = change.checked_sub(SignedDuration::from_mins(95)).unwrap();
        let until = change.checked_add(SignedDuration::from_mins(95)).unwrap();
        assert_eq!(
            between(&schedule, start, until),
            quarter_hours(&zone, start, until),
            "{name} at {change}"
        );
    }
}

/// Schedules of every kind, zones with odd clocks among them.
pub(super) fn any_schedule() -> impl Strategy<Value = Schedule> {
    let zones = vec![
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Pacific/Apia",
    ];
    let pattern = (0..60u8, 0..24u8, 1..30u8, 1..20u8).prop_flat_map(|(minute, hour, day, step)| {
        prop::sample::select(vec![
            format!("{minute} {hour} * * *"),
            format!("*/{step} * * * *"),
            format!("{minute} * * * *"),
            format!("{minute} */{} * * *", step.min(23)),
            format!("{minute},{} {hour}-23 * * *", step),
            format!("{minute} {hour} {day} * *"),
            format!("{minute} {hour} * * MON-FRI"),
            format!("*/{step} {hour} * * SUN"),
            format!("daily {hour:02}:{minute:02}:{:02}", step),
            format!("every {}m", u32::from(step) * 7),
            format!("every {step} days {minute}m"),
            format!("every {step} months"),
            format!("once 2012-{:02}-01T00:00Z", step % 12 + 1),
        ])
    });
    (pattern, prop::sample::select(zones))
        .prop_map(|(text, zone)| Schedule::parse(&text, Some(zone), &seed()).unwrap())
}

/// Seconds from 2000 to 2040; half of them within days of Samoa's lost day or of a change in Europe.
pub(super) fn any_instant() -> impl Strategy<Value = Timestamp> {
    let around = |text: &str| {
        let middle = at(text).as_second();
        middle - 200_000..middle + 200_000
    };
    prop_oneof![946_684_800i64..2_208_988_800, around("2011-12-30T10:00Z"), around("2011-10-30T01:00Z"),]
        .prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn instants_strictly_increase(schedule in any_schedule(), after in any_instant()) {
        let instants: Vec<_> = std::iter::once(after).chain(schedule.upcoming(after, 60)).collect();
        prop_assert!(instants.windows(2).all(|pair| pair[0] < pair[1]), "{schedule}: {instants:?}");
    }

    /// Whether one asks from the last instant or from anywhere after it, the next one is the same.
    #[test]
    fn the_next_wall_time_does_not_depend_on_where_one_asks_from(
        schedule in any_schedule(), after in any_instant(), share in 0.0..1.0f64,
    ) {
        prop_assume!(!schedule.text().starts_with("every"));
        if let Some(next) = schedule.next_after(after) {
            let gap = next.duration_since(after).as_secs_f64() * share;
            let between = after.checked_add(SignedDuration::from_secs_f64(gap.floor())).unwrap();
            if between < next {
                prop_assert_eq!(schedule.next_after(between), Some(next));
            }
        }
    }
}

/// The longest wait between two instants, which for rules with nights and weekends is not the usual one.
#[test]
fn the_longest_gap_spans_nights_and_weekends() {
    let now = at("2026-11-22T12:00:00Z");
    for (text, hours) in [
        ("every 45m", Some(0.75)),
        ("after 2h", Some(2.0)),
        ("daily 03:00", Some(24.0)),
        ("daily 03:00 Europe/Paris", Some(25.0)),
        ("*/5 9-17 * * 1-5", Some(63.0 + 5.0 / 60.0)),
        ("0 3 1 * *", Some(31.0 * 24.0)),
        ("once 2027-01-01T00:00Z", None),
        ("manual", None),
        ("at start", None),
        ("at start, then after 1h", Some(1.0)),
    ] {
        let gap = schedule(text).longest_gap(now).map(|gap| gap.as_secs_f64() / 3600.0);
        let close = match (gap, hours) {
            (Some(gap), Some(hours)) => (gap - hours).abs() < 1e-9,
            (gap, hours) => gap == hours,
        };
        assert!(close, "{text}: {gap:?}, not {hours:?}");
    }
}
