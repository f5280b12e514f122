//! A value of an age column, and a block of a heap: the two things that a walk's position can be.
//!
//! A moment is kept in the server's own representation (microseconds since 2000, with its infinities), for a bound that
//! loses a digit loses rows. What is easy to get wrong: for `timestamp` and `date` it is the wall clock as it stands in
//! the table, whatever zone that means; only [`AgeType::Timestamptz`] names an instant.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// The types of columns that can tell an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeType {
    /// An instant.
    Timestamptz,
    /// A wall clock, read in the job's `time_zone`.
    Timestamp,
    /// A day of the job's `time_zone`: its rows are old when the whole day is.
    Date,
}

impl AgeType {
    /// The age type that the server describes so, if it is one.
    pub fn of(ty: &Type) -> Option<Self> {
        match *ty {
            Type::TIMESTAMPTZ => Some(AgeType::Timestamptz),
            Type::TIMESTAMP => Some(AgeType::Timestamp),
            Type::DATE => Some(AgeType::Date),
            _ => None,
        }
    }

    /// Its name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            AgeType::Timestamptz => "timestamptz",
            AgeType::Timestamp => "timestamp",
            AgeType::Date => "date",
        }
    }
}

/// A value of an age column: microseconds since 2000-01-01, the extremes standing for the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

const DAY: i64 = 86_400_000_000;
/// 2000-01-01 in Unix microseconds.
const EPOCH: i64 = 946_684_800_000_000;

impl Moment {
    /// Not later than any value.
    pub const BEGINNING: Moment = Moment(i64::MIN);
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            i64::MIN => f.write_str("-infinity"),
            i64::MAX => f.write_str("infinity"),
            micros => match jiff::Timestamp::from_microsecond(micros.saturating_add(EPOCH)) {
                Ok(at) => write!(f, "{at}"),
                Err(_) => write!(f, "{micros}us"),
            },
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "-infinity" => Ok(Moment(i64::MIN)),
            "infinity" => Ok(Moment(i64::MAX)),
            _ if text.ends_with("us") => {
                text.trim_end_matches("us").parse().map(Moment).map_err(|error| error.to_string())
            }
            _ => text
                .parse::<jiff::Timestamp>()
                .map(|at| Moment(at.as_microsecond() - EPOCH))
                .map_err(|error| error.to_string()),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if *ty != Type::DATE {
            return Ok(Moment(i64::from_be_bytes(raw.try_into()?)));
        }
        Ok(Moment(match i32::from_be_bytes(raw.try_into()?) {
            i32::MIN => i64::MIN,
            i32::MAX => i64::MAX,
            day => i64::from(day) * DAY,
        }))
    }

    fn accepts(ty: &Type) -> bool {
        AgeType::of(ty).is_some()
    }
}

impl ToSql for Moment {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        if *ty != Type::DATE {
            out.put_i64(self.0);
            return Ok(IsNull::No);
        }
        out.put_i32(match self.0 {
            i64::MIN => i32::MIN,
            i64::MAX => i32::MAX,
            micros => i32::try_from(micros.div_euclid(DAY))?,
        });
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        AgeType::of(ty).is_some()
    }

    to_sql_checked!();
}

/// The first row of a block of the heap, as a `tid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Block(pub u32);

impl ToSql for Block {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_u32(self.0);
        out.put_u16(0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TID
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_cursor() {
        for moment in [Moment(i64::MIN), Moment(i64::MAX), Moment(0), Moment(-1), Moment(824_000_000_123_456)]
        {
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
        assert_eq!(Moment(1).to_string(), "2000-01-01T00:00:00.000001Z");
    }

    #[test]
    fn days_survive_the_wire() {
        for moment in [Moment(i64::MIN), Moment(i64::MAX), Moment(-DAY), Moment(9000 * DAY)] {
            let mut wire = BytesMut::new();
            let _ = moment.to_sql(&Type::DATE, &mut wire).expect("a date");
            assert_eq!(Moment::from_sql(&Type::DATE, &wire).expect("a date"), moment);
        }
    }
}
