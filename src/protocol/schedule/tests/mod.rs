//! Tests of schedules, by subject. What they share stands here.

/// What a text means: canonical text, zones, description, errors; nothing panics.
mod reading;

/// Which instants follow: croner's table, and every change of the clock in every zone.
mod instants;

/// Nothing is lost and nothing counted twice, whatever is missed.
mod missing;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Schedule, Seed};

fn seed() -> Seed {
    Seed::new(Uuid::from_u128(7), "audit-logs")
}

fn schedule(text: &str) -> Schedule {
    Schedule::parse(text, None, &seed()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The instants in `(after, until]`, one by one.
fn between(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    schedule.upcoming(after, usize::MAX).take_while(|instant| *instant <= until).collect()
}
