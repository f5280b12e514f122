//! A value of an age column, and a block of a heap: the two things that a walk's position can be.
//!
//! A moment is kept in the server's own representation (microseconds since 2000, with its infinities; the integer; the
//! UUID), for a bound that loses a digit loses rows. What is easy to get wrong: for `timestamp` and `date` it is the wall
//! clock as it stands in the table, whatever zone that means.

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// A value of an age column. All values of one column are of one variant, so their order is the column's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Microseconds since 2000-01-01, the extremes standing for the infinities.
    Micros(i64),
    /// What an integer column counts.
    Number(i64),
    /// Of a UUID column.
    Uuid(Uuid),
}

const DAY: i64 = 86_400_000_000;
/// 2000-01-01 in Unix microseconds.
const EPOCH: i64 = 946_684_800_000_000;

impl Moment {
    /// Not later than any value, of whichever column.
    pub const BEGINNING: Moment = Moment::Micros(i64::MIN);

    /// How far `to` lies behind this, in what the column counts; `None` if either is infinite, or of a UUID.
    pub fn distance(self, to: Moment) -> Option<i64> {
        match (self, to) {
            (Moment::Micros(from), Moment::Micros(to)) if from > i64::MIN && to < i64::MAX => {
                to.checked_sub(from)
            }
            (Moment::Number(from), Moment::Number(to)) => to.checked_sub(from),
            _ => None,
        }
    }

    /// The value that lies so many `parts` of `all` on the way from here to `to`; `None` if either is infinite.
    pub fn towards(self, to: Moment, parts: u32, all: u32) -> Option<Moment> {
        if let (Moment::Uuid(from), Moment::Uuid(to)) = (self, to) {
            let width = to.as_u128().checked_sub(from.as_u128())?;
            let part = width / u128::from(all.max(1)) * u128::from(parts);
            return Some(Moment::Uuid(Uuid::from_u128(from.as_u128() + part)));
        }
        let part = i128::from(self.distance(to)?) * i128::from(parts) / i128::from(all.max(1));
        self.plus(i64::try_from(part).ok()?)
    }

    /// So much later; `None` beyond the finite values, and for a UUID.
    pub fn plus(self, distance: i64) -> Option<Moment> {
        match self {
            Moment::Micros(i64::MIN) | Moment::Uuid(_) => None,
            Moment::Micros(at) => {
                at.checked_add(distance).filter(|later| *later < i64::MAX).map(Moment::Micros)
            }
            Moment::Number(at) => at.checked_add(distance).map(Moment::Number),
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Moment::Number(number) => write!(f, "{number}"),
            Moment::Uuid(uuid) => write!(f, "{uuid}"),
            Moment::Micros(i64::MIN) => f.write_str("-infinity"),
            Moment::Micros(i64::MAX) => f.write_str("infinity"),
            Moment::Micros(micros) => match jiff::Timestamp::from_microsecond(micros.saturating_add(EPOCH)) {
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
            "-infinity" => return Ok(Moment::Micros(i64::MIN)),
            "infinity" => return Ok(Moment::Micros(i64::MAX)),
            _ => {}
        }
        if let Some(micros) = text.strip_suffix("us") {
            return micros.parse().map(Moment::Micros).map_err(|error| error.to_string());
        }
        if let Ok(number) = text.parse() {
            return Ok(Moment::Number(number));
        }
        if let Ok(uuid) = text.parse() {
            return Ok(Moment::Uuid(uuid));
        }
        let at = text.parse::<jiff::Timestamp>().map_err(|error| error.to_string())?;
        Ok(Moment::Micros(at.as_microsecond() - EPOCH))
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
        Ok(match *ty {
            Type::INT2 => Moment::Number(i16::from_be_bytes(raw.try_into()?).into()),
            Type::INT4 => Moment::Number(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT8 => Moment::Number(i64::from_be_bytes(raw.try_into()?)),
            Type::UUID => Moment::Uuid(Uuid::from_slice(raw)?),
            Type::DATE => Moment::Micros(match i32::from_be_bytes(raw.try_into()?) {
                i32::MIN => i64::MIN,
                i32::MAX => i64::MAX,
                day => i64::from(day) * DAY,
            }),
            _ => Moment::Micros(i64::from_be_bytes(raw.try_into()?)),
        })
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT2 | Type::INT4) || is_bound_as(ty)
    }
}

/// Values are bound as these types; the smaller integers compare with bigint by the same index.
fn is_bound_as(ty: &Type) -> bool {
    matches!(*ty, Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::DATE | Type::INT8 | Type::UUID)
}

impl ToSql for Moment {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (ty, *self) {
            (&Type::UUID, Moment::BEGINNING) => out.put_slice(Uuid::nil().as_bytes()),
            (&Type::UUID, Moment::Uuid(uuid)) => out.put_slice(uuid.as_bytes()),
            (&Type::INT8, Moment::BEGINNING) => out.put_i64(i64::MIN),
            (&Type::INT8, Moment::Number(number)) => out.put_i64(number),
            (&Type::DATE, Moment::Micros(micros)) => out.put_i32(match micros {
                i64::MIN => i32::MIN,
                i64::MAX => i32::MAX,
                micros => i32::try_from(micros.div_euclid(DAY))?,
            }),
            (&(Type::TIMESTAMPTZ | Type::TIMESTAMP), Moment::Micros(micros)) => out.put_i64(micros),
            _ => return Err(format!("{self} is no value of type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        is_bound_as(ty)
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
        let micros = [i64::MIN, i64::MAX, 0, -1, 824_000_000_123_456].map(Moment::Micros);
        let numbers = [i64::MIN, i64::MAX, 0, -1, 1_700_000_000].map(Moment::Number);
        for moment in micros.into_iter().chain(numbers).chain([Moment::Uuid(Uuid::nil())]) {
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
        assert_eq!(Moment::Micros(1).to_string(), "2000-01-01T00:00:00.000001Z");
    }

    #[test]
    fn values_survive_the_wire() {
        let days = [i64::MIN, i64::MAX, -DAY, 9000 * DAY].map(|micros| (Type::DATE, Moment::Micros(micros)));
        let uuid = (Type::UUID, Moment::Uuid(Uuid::from_u128(7)));
        for (ty, moment) in days.into_iter().chain([uuid, (Type::INT8, Moment::Number(-5))]) {
            let mut wire = BytesMut::new();
            let _ = moment.to_sql(&ty, &mut wire).expect("a value of the type");
            assert_eq!(Moment::from_sql(&ty, &wire).expect("a value"), moment);
        }
    }

    #[test]
    fn nothing_comes_before_the_beginning() {
        assert!(
            Moment::BEGINNING < Moment::Number(i64::MIN) && Moment::BEGINNING < Moment::Uuid(Uuid::nil())
        );
        for ty in [Type::UUID, Type::INT8, Type::DATE, Type::TIMESTAMP, Type::TIMESTAMPTZ] {
            assert!(Moment::BEGINNING.to_sql(&ty, &mut BytesMut::new()).is_ok(), "{ty}");
        }
    }
}
