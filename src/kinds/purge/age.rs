//! The types of columns that can tell an age, and what an instant is in each.
//!
//! A cutoff compares with the column as it stands, so that an index on it serves. What is easy to get wrong: a number
//! of seconds read as milliseconds lies in January 1970, where every row is old; so the unit is never guessed.

use jiff::Timestamp;
use serde::Deserialize;
use tokio_postgres::types::Type;

use super::moment::Moment;

/// The unit of an age that is an integer: what it counts since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// The types of columns that can tell an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeType {
    /// An instant.
    Timestamptz,
    /// A wall clock, read in the job's `time_zone`.
    Timestamp,
    /// A day of the job's `time_zone`: its rows are old when the whole day is.
    Date,
    /// An integer, in its unit since 1970.
    Integer(AgeUnit),
    /// A UUID of version 7, which begins with the milliseconds since 1970. Other versions tell no age.
    Uuid,
}

impl AgeType {
    /// The age type that the server describes so, or what is wrong with it and what to do.
    ///
    /// # Errors
    /// Both, for people.
    pub fn of(ty: &Type, unit: Option<AgeUnit>) -> Result<Self, (String, &'static str)> {
        let integer = matches!(*ty, Type::INT2 | Type::INT4 | Type::INT8);
        match (integer, unit) {
            (true, Some(unit)) => return Ok(AgeType::Integer(unit)),
            (true, None) => {
                let remedy =
                    "set unit = \"seconds\" or unit = \"milliseconds\", whichever it counts since 1970";
                return Err((format!("is of type {ty}, and no unit is given"), remedy));
            }
            (false, Some(_)) => {
                let remedy = "leave unit out: it is for ages that are integers";
                return Err((format!("is of type {ty}, which needs no unit"), remedy));
            }
            (false, None) => {}
        }
        match *ty {
            Type::TIMESTAMPTZ => Ok(AgeType::Timestamptz),
            Type::TIMESTAMP => Ok(AgeType::Timestamp),
            Type::DATE => Ok(AgeType::Date),
            Type::UUID => Ok(AgeType::Uuid),
            _ => {
                let remedy = "name a column or an expression of type timestamptz, timestamp, date, integer (with unit) or uuid (version 7)";
                Err((format!("is of type {ty}, which cannot tell an age"), remedy))
            }
        }
    }

    /// The type in SQL that values are bound as.
    pub fn as_str(self) -> &'static str {
        match self {
            AgeType::Timestamptz => "timestamptz",
            AgeType::Timestamp => "timestamp",
            AgeType::Date => "date",
            AgeType::Integer(_) => "bigint",
            AgeType::Uuid => "uuid",
        }
    }

    /// The least value that does not name an instant before `at`; `None` for types that a zone decides.
    pub fn bound(self, at: Timestamp) -> Option<Moment> {
        let micros = at.as_microsecond();
        match self {
            AgeType::Timestamptz | AgeType::Timestamp | AgeType::Date => None,
            AgeType::Integer(AgeUnit::Seconds) => Some(Moment::Number(div_ceil(micros, 1_000_000))),
            AgeType::Integer(AgeUnit::Milliseconds) => Some(Moment::Number(div_ceil(micros, 1000))),
            AgeType::Uuid => {
                let milliseconds = u64::try_from(div_ceil(micros, 1000)).unwrap_or(0);
                Some(Moment::Uuid(
                    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid(),
                ))
            }
        }
    }

    /// A value as an instant, for people; the value itself if no calendar has that instant.
    pub fn shown(self, moment: Moment) -> String {
        let instant = match (self, moment) {
            (AgeType::Integer(AgeUnit::Seconds), Moment::Number(seconds)) => {
                Timestamp::from_second(seconds).ok()
            }
            (AgeType::Integer(AgeUnit::Milliseconds), Moment::Number(ms)) => {
                Timestamp::from_millisecond(ms).ok()
            }
            (AgeType::Uuid, Moment::Uuid(uuid)) => {
                milliseconds(uuid).and_then(|ms| Timestamp::from_millisecond(ms).ok())
            }
            _ => None,
        };
        instant.map_or_else(|| moment.to_string(), |at| at.to_string())
    }
}

/// The milliseconds since 1970 that a UUID of version 7 begins with; `None` for other versions.
pub fn milliseconds(uuid: uuid::Uuid) -> Option<i64> {
    (uuid.get_version_num() == 7).then(|| i64::try_from(uuid.as_u128() >> 80).unwrap_or(i64::MAX))
}

fn div_ceil(value: i64, by: i64) -> i64 {
    -(-value).div_euclid(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_bound_is_the_first_value_that_is_not_before_the_instant() {
        let seconds = AgeType::Integer(AgeUnit::Seconds);
        assert_eq!(seconds.bound(at("1970-01-01T00:01:40Z")), Some(Moment::Number(100)));
        assert_eq!(seconds.bound(at("1970-01-01T00:01:40.5Z")), Some(Moment::Number(101)));
        assert_eq!(seconds.bound(at("1969-12-31T23:59:58.5Z")), Some(Moment::Number(-1)));
        let milliseconds = AgeType::Integer(AgeUnit::Milliseconds);
        assert_eq!(milliseconds.bound(at("1970-01-01T00:00:00.100001Z")), Some(Moment::Number(101)));
    }

    #[test]
    fn the_bound_of_uuids_is_the_smallest_of_its_millisecond() {
        let Some(Moment::Uuid(bound)) = AgeType::Uuid.bound(at("2026-01-01T00:00:00Z")) else {
            panic!("no uuid");
        };
        assert_eq!(bound.to_string(), "019b76da-a800-7000-8000-000000000000");
        assert_eq!(AgeType::Uuid.shown(Moment::Uuid(bound)), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_unit_is_neither_guessed_nor_ignored() {
        assert!(AgeType::of(&Type::INT8, None).is_err());
        assert!(AgeType::of(&Type::TIMESTAMPTZ, Some(AgeUnit::Seconds)).is_err());
        assert!(AgeType::of(&Type::NUMERIC, None).is_err());
        assert_eq!(AgeType::of(&Type::INT4, Some(AgeUnit::Seconds)), Ok(AgeType::Integer(AgeUnit::Seconds)));
    }
}
