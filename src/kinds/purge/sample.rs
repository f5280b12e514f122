//! Looks at some ages for a mistake that would take rows whose time is not over.
//!
//! What is easy to get wrong: nothing in the type tells seconds from milliseconds, or a UUID of version 7 from one that
//! is random; the values do.

use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    age::{AgeType, AgeUnit},
    moment::Moment,
    statement::Scope,
};
use crate::kind::{RunContext, Stop};

/// From 1980 to 2100, in seconds.
const PLAUSIBLE_S: std::ops::Range<i64> = 315_532_800..4_102_444_800;

/// Refuses ages that are not what the params say. An author's option `force` passes the unit, never the UUIDs.
pub async fn look(context: &mut RunContext, scope: &Scope) -> Result<(), Stop> {
    let (Some(age), Some(sql)) = (&scope.age, scope.sample()) else { return Ok(()) };
    match age.ty {
        AgeType::Timestamptz | AgeType::Timestamp | AgeType::Date => Ok(()),
        AgeType::Uuid => uuids(&values(&context.query(&sql.text, &sql.values).await?)),
        AgeType::Integer(_) if context.options().force == Some(true) => Ok(()),
        AgeType::Integer(unit) => integers(unit, &values(&context.query(&sql.text, &sql.values).await?)),
    }
}

fn values(rows: &[Row]) -> Vec<Moment> {
    rows.iter().filter_map(|row| row.get(0)).collect()
}

fn uuids(values: &[Moment]) -> Result<(), Stop> {
    let other = values.iter().find_map(|value| match value {
        Moment::Uuid(uuid) if uuid.get_version_num() != 7 => Some(*uuid),
        _ => None,
    });
    match other {
        None => Ok(()),
        Some(uuid) => Err(of_another_version(uuid)),
    }
}

fn of_another_version(uuid: Uuid) -> Stop {
    let version = uuid.get_version_num();
    Stop::refused(
        format!("the age: UUID {uuid} is of version {version}; only version 7 tells an age"),
        "name a column that tells the age",
    )
}

/// By the largest value: what is written now.
fn integers(unit: AgeUnit, values: &[Moment]) -> Result<(), Stop> {
    let numbers = values.iter().filter_map(|value| match value {
        Moment::Number(number) => Some(*number),
        _ => None,
    });
    let Some(largest) = numbers.max() else { return Ok(()) };
    let wrong = |is: &str| {
        let remedy = format!("set unit = \"{is}\", or let an author run it once with the option force");
        Err(Stop::refused(format!("params.unit: ages such as {largest} look like {is} since 1970"), remedy))
    };
    match unit {
        AgeUnit::Milliseconds if PLAUSIBLE_S.contains(&largest) => wrong("seconds"),
        AgeUnit::Seconds if PLAUSIBLE_S.contains(&(largest / 1000)) => wrong("milliseconds"),
        AgeUnit::Seconds | AgeUnit::Milliseconds => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_unit_is_seen() {
        let numbers = |number| [Moment::Number(0), Moment::Number(number)];
        for (unit, number, fits) in [
            (AgeUnit::Seconds, 1_780_000_000, true),
            (AgeUnit::Milliseconds, 1_780_000_000_000, true),
            (AgeUnit::Milliseconds, 1_780_000_000, false),
            (AgeUnit::Seconds, 1_780_000_000_000, false),
            (AgeUnit::Seconds, 5, true),
        ] {
            assert_eq!(integers(unit, &numbers(number)).is_ok(), fits, "{unit:?} {number}");
        }
    }
}
