//! What is expected of an answer: a health check fails with the rows that should not be there.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::Map;

use crate::{
    Error, ErrorKind,
    kind::{ParamError, Stop, trampoline::Answer},
};

/// How many rows are expected: "no rows", "rows", or bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    min: u64,
    max: u64,
}

/// Bounds as a table has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    min: Option<u64>,
    max: Option<u64>,
}

impl Expect {
    /// Whether any number would do, or none.
    ///
    /// # Errors
    /// What is wrong with the bounds.
    pub fn check(self) -> Result<(), ParamError> {
        match (self.min, self.max) {
            (0, u64::MAX) => {
                Err(ParamError::new("expect", "has neither min nor max; write \"no rows\" or { max = 10 }"))
            }
            (min, max) if min > max => Err(ParamError::new("expect", "has a min above its max")),
            _ => Ok(()),
        }
    }

    /// Holds the answer against it. What the statement did is taken back then: it commits only what was expected.
    ///
    /// # Errors
    /// [`Stop::Unexpected`] with the rows that are kept.
    pub fn judge(self, answer: &Answer, gives_rows: bool) -> Result<(), Stop> {
        if (self.min..=self.max).contains(&answer.counted) {
            return Ok(());
        }
        let what = if gives_rows { "" } else { " affected" };
        let message = format!("expected {self}{what}, found {}", answer.counted);
        let error = Error::new(ErrorKind::Refused, message).about("params.expect");
        let mut details = Map::new();
        details.insert("expected".to_owned(), self.to_string().into());
        details.insert("rows".to_owned(), answer.counted.into());
        if gives_rows {
            details.insert("answer".to_owned(), answer.kept.clone());
        }
        Err(Stop::Unexpected { error, details })
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (0, 0) => f.write_str("no rows"),
            (0, max) => write!(f, "at most {max} rows"),
            (min, u64::MAX) => write!(f, "at least {min} rows"),
            (min, max) if min == max => write!(f, "{min} rows"),
            (min, max) => write!(f, "{min} to {max} rows"),
        }
    }
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ExpectVisitor)
    }
}

struct ExpectVisitor;

impl<'de> de::Visitor<'de> for ExpectVisitor {
    type Value = Expect;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"no rows\", \"rows\", or bounds such as { min = 1, max = 10 }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Expect, E> {
        match text {
            "no rows" => Ok(Expect { min: 0, max: 0 }),
            "rows" => Ok(Expect { min: 1, max: u64::MAX }),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
        let Bounds { min, max } = Bounds::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Expect { min: min.unwrap_or(0), max: max.unwrap_or(u64::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn expect(text: Value) -> Expect {
        serde_json::from_value(text).expect("it is well formed")
    }

    fn judged(expect: Expect, counted: u64) -> Option<Stop> {
        expect.judge(&Answer { counted, kept: json!([{"id": 1}]) }, true).err()
    }

    #[test]
    fn bounds_are_inclusive() {
        let two_to_four = expect(json!({"min": 2, "max": 4}));
        for (counted, passes) in [(1, false), (2, true), (4, true), (5, false)] {
            assert_eq!(judged(two_to_four, counted).is_none(), passes, "{counted}");
        }
        assert!(judged(expect(json!("no rows")), 0).is_none());
        assert!(judged(expect(json!("rows")), 0).is_some());
        assert_eq!(two_to_four.to_string(), "2 to 4 rows");
    }

    #[test]
    fn a_failure_carries_the_rows() {
        let Some(Stop::Unexpected { error, details }) = judged(expect(json!("no rows")), 3) else {
            panic!("it passed");
        };
        assert_eq!(error.to_string(), "params.expect: expected no rows, found 3");
        assert_eq!(details["answer"], json!([{"id": 1}]));
    }

    #[test]
    fn what_expects_nothing_is_refused() {
        assert!(expect(json!({})).check().is_err());
        assert!(expect(json!({"min": 3, "max": 2})).check().is_err());
        assert!(serde_json::from_value::<Expect>(json!("none")).is_err());
        assert!(serde_json::from_value::<Expect>(json!({"least": 2})).is_err());
    }
}
