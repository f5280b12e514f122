//! Nothing is lost and nothing counted twice, whatever is missed.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    super::*,
    at, between,
    instants::{any_instant, any_schedule},
    schedule,
};

fn plan(next: &str, coalesced: u64) -> Plan {
    Plan { scheduled_at: Some(at(next)), coalesced }
}

#[test]
fn once_makes_one_run_of_all_that_passed() {
    let hourly = schedule("0 * * * *");
    // Due at 01:00, run from 05:10 to 05:20.
    let (due, picked, settled) = (at("2026-01-01T01:00Z"), at("2026-01-01T05:10Z"), at("2026-01-01T05:20Z"));
    assert_eq!(hourly.too_late(Missed::Once, None, due, picked), None);
    assert_eq!(hourly.plan_next(Missed::Once, due, settled), plan("2026-01-01T06:00Z", 4));
    // In time, and an instant that is just now has passed.
    assert_eq!(hourly.plan_next(Missed::Once, due, at("2026-01-01T01:01Z")), plan("2026-01-01T02:00Z", 0));
    assert_eq!(hourly.plan_next(Missed::Once, due, at("2026-01-01T02:00Z")), plan("2026-01-01T03:00Z", 1));
}

#[test]
fn skip_passes_over_what_is_late() {
    let hourly = schedule("0 * * * *");
    let due = at("2026-01-01T01:00Z");
    let skip = |now: &str, lateness| hourly.too_late(Missed::Skip, lateness, due, at(now));
    assert_eq!(skip("2026-01-01T01:01Z", None), None, "a minute is not too late");
    assert_eq!(skip("2026-01-01T01:01:01Z", None), Some(plan("2026-01-01T02:00Z", 1)));
    assert_eq!(skip("2026-01-01T05:10Z", None), Some(plan("2026-01-01T06:00Z", 5)));
    assert_eq!(skip("2026-01-01T05:00:30Z", None), Some(plan("2026-01-01T05:00Z", 4)), "the last is in time");
    let lateness = Some(SignedDuration::from_mins(15));
    assert_eq!(skip("2026-01-01T01:15Z", lateness), None);
    assert_eq!(skip("2026-01-01T05:10Z", lateness), Some(plan("2026-01-01T05:00Z", 4)));
    assert_eq!(hourly.plan_next(Missed::Skip, due, at("2026-01-01T02:30Z")), plan("2026-01-01T03:00Z", 1));
}

#[test]
fn each_makes_up_for_the_most_recent() {
    let hourly = schedule("0 * * * *");
    let (due, now) = (at("2026-01-01T01:00Z"), at("2026-01-01T05:10Z"));
    assert_eq!(hourly.too_late(Missed::Each(5), None, due, now), None);
    assert_eq!(hourly.too_late(Missed::Each(2), None, due, now), Some(plan("2026-01-01T04:00Z", 3)));
    assert_eq!(hourly.plan_next(Missed::Each(9), due, now), plan("2026-01-01T02:00Z", 0));
    assert_eq!(hourly.plan_next(Missed::Each(1), due, now), plan("2026-01-01T05:00Z", 3));
    // The bound on lateness holds for every policy.
    let lateness = Some(SignedDuration::from_mins(130));
    assert_eq!(hourly.too_late(Missed::Each(9), lateness, due, now), Some(plan("2026-01-01T03:00Z", 2)));
    assert_eq!(hourly.too_late(Missed::Once, lateness, due, now), Some(plan("2026-01-01T03:00Z", 2)));
}

#[test]
fn what_follows_a_run_has_nothing_to_miss() {
    let after = schedule("after 45m");
    let (due, now) = (at("2026-01-01T01:00Z"), at("2026-01-01T05:10Z"));
    for missed in [Missed::Once, Missed::Skip, Missed::Each(3)] {
        assert_eq!(after.plan_next(missed, due, now), plan("2026-01-01T05:55Z", 0));
    }
    assert_eq!(after.too_late(Missed::Skip, None, due, now), Some(plan("2026-01-01T05:55Z", 1)));
    assert_eq!(after.too_late(Missed::Each(1), None, due, now), None);
    let once = schedule("once 2026-01-01T01:00Z");
    let over = Plan { scheduled_at: None, coalesced: 1 };
    assert_eq!(once.too_late(Missed::Skip, None, due, now), Some(over));
    assert_eq!(once.plan_next(Missed::Once, due, now), Plan { scheduled_at: None, coalesced: 0 });
}

#[test]
fn a_clock_set_back_repeats_nothing() {
    for text in ["0 * * * *", "every 1h", "after 1h"] {
        let next = schedule(text).plan_next(Missed::Once, at("2026-01-01T05:00Z"), at("2026-01-01T01:30Z"));
        assert_eq!(next, plan("2026-01-01T06:00Z", 0), "{text}");
    }
}

#[test]
fn long_outages_are_counted_exactly() {
    let (due, now) = (at("2006-01-01T00:00Z"), at("2026-01-01T00:00Z"));
    let days = 7_305;
    for (text, per_day) in [("every 1s", 86_400), ("* * * * *", 1_440), ("0 3 * * *", 1), ("every 1 day", 1)]
    {
        let plan = schedule(text).plan_next(Missed::Once, due, now);
        assert_eq!(plan.coalesced, days * per_day, "{text}");
    }
    let second = schedule("every 1s").plan_next(Missed::Each(10), due, now);
    assert_eq!(second, plan("2025-12-31T23:59:51Z", days * 86_400 - 10));
    let minute = schedule("* * * * *").plan_next(Missed::Each(10), due, now);
    assert_eq!(minute, plan("2025-12-31T23:51:00Z", days * 1_440 - 10));
}

/// A replica that sleeps and works as told, and keeps book.
struct Book {
    runs: Vec<Timestamp>,
    coalesced: u64,
    scheduled_at: Option<Timestamp>,
}

impl Book {
    /// Wakes up at `now`; runs at most once, for `busy`.
    fn wake(
        &mut self,
        schedule: &Schedule,
        missed: Missed,
        lateness: Option<SignedDuration>,
        now: Timestamp,
    ) {
        let Some(due) = self.scheduled_at.filter(|due| *due <= now) else { return };
        if let Some(plan) = schedule.too_late(missed, lateness, due, now) {
            self.take(plan);
            assert!(schedule_is_in_time(schedule, missed, lateness, self.scheduled_at, now));
            return;
        }
        self.runs.push(due);
        self.take(schedule.plan_next(missed, due, now));
    }

    fn take(&mut self, plan: Plan) {
        assert!(plan.scheduled_at.is_none() || plan.scheduled_at > self.scheduled_at, "only ever later");
        self.coalesced += plan.coalesced;
        self.scheduled_at = plan.scheduled_at;
    }
}

fn schedule_is_in_time(
    schedule: &Schedule,
    missed: Missed,
    lateness: Option<SignedDuration>,
    next: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    next.is_none_or(|next| next > now || schedule.too_late(missed, lateness, next, now).is_none())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn runs_and_coalesced_are_the_elapsed_instants(
        schedule in any_schedule(),
        start in any_instant(),
        sleeps in prop::collection::vec(prop_oneof![1i64..300, 1i64..20_000, 1i64..900_000], 1..25),
        missed in prop_oneof![Just(Missed::Once), Just(Missed::Skip), (1..20u32).prop_map(Missed::Each)],
        lateness in prop::option::of(0i64..100_000),
    ) {
        let lateness = lateness.map(SignedDuration::from_secs);
        let mut book = Book { runs: vec![], coalesced: 0, scheduled_at: schedule.first(start) };
        let mut now = start;
        for sleep in sleeps {
            now += SignedDuration::from_secs(sleep);
            book.wake(&schedule, missed, lateness, now);
        }
        // What stands in the book as next has not been accounted for; all before it has.
        let elapsed = match book.scheduled_at {
            Some(next) => between(&schedule, start, next).len() - 1,
            None => schedule.upcoming(start, usize::MAX).count(),
        };
        prop_assert_eq!(book.runs.len() as u64 + book.coalesced, elapsed as u64, "{} {}", schedule, missed);
        prop_assert!(book.runs.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn counting_in_bulk_is_counting_one_by_one(
        schedule in any_schedule(), after in any_instant(), hours in 0i64..2_000, limit in 0u64..300,
    ) {
        let until = after + SignedDuration::from_hours(hours);
        let singly = between(&schedule, after, until);
        prop_assert_eq!(schedule.pass(after, until, u64::MAX).count, singly.len() as u64, "{}", schedule);
        let limited = schedule.pass(after, until, limit);
        prop_assert_eq!(limited.count, limit.min(singly.len() as u64));
        let next = schedule.upcoming(after, usize::MAX).nth(limited.count as usize);
        prop_assert_eq!(schedule.next_after(limited.position), next, "{} goes on where it stopped", schedule);
    }
}
