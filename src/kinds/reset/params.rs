//! The parameters of a reset: a closed set, each documented once in [`TABLE`].

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};

use crate::kind::{Param, ParamError, check, interval::Retention};

/// What a reset job is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The table.
    pub table: String,
    /// The column that holds the state.
    pub column: String,
    /// The states that rows get stuck in.
    #[serde(deserialize_with = "one_or_more")]
    pub from: Vec<Scalar>,
    /// The state that they are set to.
    pub to: Scalar,
    /// Since when a row is in its state: a column or an SQL expression.
    pub since: String,
    /// How long is too long.
    pub after: Retention,
    /// Which of these rows.
    #[serde(rename = "where")]
    pub predicate: Option<String>,
    /// Further columns to set.
    #[serde(default)]
    pub set: BTreeMap<String, Option<Scalar>>,
    /// The column that says when a row changed last.
    pub touch: Option<String>,
    /// Rows a batch.
    #[serde(default = "thousand")]
    pub batch: u64,
    /// Ends the run, as succeeded, after that many rows.
    pub limit_rows: Option<u64>,
}

fn thousand() -> u64 {
    1000
}

/// A job of this kind, as a file has it.
pub const EXAMPLE: &str = r#"[jobs.stuck-migrations]
schedule = "every 5m"

[jobs.stuck-migrations.reset]
table = "app.migrations"
column = "status"
from = ["pending", "processing"]
to = "failed"
since = "updated_at"
after = "1 hour"
set = { error = "no progress for an hour" }
touch = "updated_at"
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "table",
        takes: "table name",
        default: "none: it must be given",
        help: "The table, as SQL would name it; it is resolved once, when the job is saved.",
    },
    Param {
        name: "column",
        takes: "column",
        default: "none: it must be given",
        help: "The column that holds the state.",
    },
    Param {
        name: "from",
        takes: "value or list of values",
        default: "none: it must be given",
        help: "The states that rows get stuck in.",
    },
    Param {
        name: "to",
        takes: "value",
        default: "none: it must be given",
        help: "The state that stuck rows are set to; none of `from`.",
    },
    Param {
        name: "since",
        takes: "column or SQL expression",
        default: "none: it must be given",
        help: "Since when a row is in its state: timestamptz, or timestamp in UTC. A row where it is NULL stays.",
    },
    Param {
        name: "after",
        takes: "interval or seconds",
        default: "none: it must be given",
        help: "How long a row may be in its state, such as \"1 hour\".",
    },
    Param {
        name: "where",
        takes: "SQL predicate",
        default: "every stuck row",
        help: "Which of the stuck rows; `:name` stands for a declared input.",
    },
    Param {
        name: "set",
        takes: "table of column = value",
        default: "nothing else is set",
        help: "Further columns to set with the state, to fixed values.",
    },
    Param {
        name: "touch",
        takes: "column",
        default: "none: no such column is set",
        help: "A timestamptz or timestamp (UTC) column to set to the run's now.",
    },
    Param { name: "batch", takes: "rows", default: "1000", help: "Rows a batch, from 1 to 1,000,000." },
    Param {
        name: "limit_rows",
        takes: "rows",
        default: "no limit",
        help: "Ends the run as succeeded after that many rows; the rest waits for the next occurrence.",
    },
];

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        for (path, text) in [("table", &self.table), ("column", &self.column), ("since", &self.since)] {
            check::text(path, text)?;
        }
        check::once("from", self.from.iter().map(Scalar::as_str))?;
        if self.from.is_empty() {
            return wrong("from", "is empty; name at least one state");
        }
        if self.from.contains(&self.to) {
            return wrong("to", "is one of `from`: nothing would change");
        }
        self.check_set()?;
        if !(1..=1_000_000).contains(&self.batch) {
            return wrong("batch", "must be from 1 to 1000000 rows");
        }
        if self.limit_rows == Some(0) {
            return wrong("limit_rows", "must be at least 1; pause the job if it is to change nothing");
        }
        self.check_predicate()
    }

    fn check_set(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if let Some(touch) = &self.touch {
            check::text("touch", touch)?;
        }
        if self.set.keys().any(|column| column.trim().is_empty()) {
            return wrong("set", "has a column without a name");
        }
        if self.set.contains_key(&self.column) {
            return wrong(&format!("set.{}", self.column), "is the state, which `to` sets");
        }
        if let Some(touch) =
            self.touch.as_ref().filter(|touch| **touch == self.column || self.set.contains_key(*touch))
        {
            return wrong("touch", &format!("\"{touch}\" is set already"));
        }
        Ok(())
    }

    fn check_predicate(&self) -> Result<(), ParamError> {
        match self.predicate.as_deref() {
            Some(text) if text.trim().is_empty() => {
                Err(ParamError::new("where", "is empty; leave it out if every stuck row is to be reset"))
            }
            Some(text) => check::sql("where", text),
            None => Ok(()),
        }
    }
}

/// A text, number or boolean, as text: the database reads it as the column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar(String);

impl Scalar {
    /// As the database reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl de::Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a boolean")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Scalar>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text, a number, a boolean, or a list of these")]
    enum OneOrMore {
        One(Scalar),
        More(Vec<Scalar>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Registry;

    fn problem(params: serde_json::Value) -> Option<String> {
        let registry = Registry::with_builtins();
        registry.get("reset").expect("it is built in").check(&params).err().map(|error| error.to_string())
    }

    fn good() -> serde_json::Value {
        json!({"table": "t", "column": "state", "from": "busy", "to": "failed", "since": "at", "after": "1 hour"})
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(problem(good()), None);
        for (name, value, part) in [
            ("from", json!([]), "params.from: is empty"),
            ("from", json!({"a": 1}), "a list of these"),
            ("to", json!("busy"), "params.to: is one of `from`"),
            ("after", json!("0 hours"), "params.after"),
            ("set", json!({"state": 1}), "params.set.state"),
            ("touch", json!("state"), "params.touch"),
            ("batch", json!(0), "params.batch"),
            ("limit_rows", json!(0), "params.limit_rows"),
            ("where", json!("a = 'x"), "params.where"),
            ("stat", json!(1), "stat"),
        ] {
            let mut params = good();
            params[name] = value;
            let found = problem(params).unwrap_or_else(|| panic!("{name} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn states_are_texts_numbers_or_booleans() {
        let mut params = good();
        params["from"] = json!([1, true, "x", 1.5]);
        params["set"] = json!({"error": null, "retries": 0});
        assert_eq!(problem(params), None);
    }

    #[test]
    fn the_table_is_complete() {
        for param in TABLE {
            let mut params = good();
            params[param.name] = json!([[]]);
            let found = problem(params).unwrap_or_else(|| panic!("{} takes anything", param.name));
            assert!(!found.contains("unknown field"), "{} is described, but not known", param.name);
        }
        let unknown = problem(json!({"nope": 1})).expect("it is refused");
        assert_eq!(
            unknown.matches('`').count() / 2 - 1,
            TABLE.len(),
            "a parameter is not described: {unknown}"
        );
    }
}
