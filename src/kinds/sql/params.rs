//! The parameters of a statement: a closed set, each documented once in [`TABLE`].

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::expect::Expect;
use crate::kind::{Options, Param, ParamError, Stop, check, inputs, interval::Limit, pace::Pacing};

/// What a job of kind `sql` is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The statement.
    pub statement: String,
    /// How many rows it should give or affect.
    pub expect: Option<Expect>,
    /// Whether it is executed once, or until it affects nothing.
    #[serde(default, deserialize_with = "repeat")]
    pub repeat: Repeat,
    /// The rest between repetitions.
    #[serde(default)]
    pub pacing: Pacing,
    /// Ends the run, as succeeded, after that many rows.
    pub limit_rows: Option<u64>,
    /// Ends the run, as succeeded, after that long.
    pub time_limit: Option<Limit>,
    /// The most that one execution may take.
    pub statement_timeout: Option<Limit>,
    /// The most that it may wait for a lock.
    pub lock_timeout: Option<Limit>,
    /// Rows kept in the report.
    #[serde(default = "twenty")]
    pub keep_rows: u32,
}

fn twenty() -> u32 {
    20
}

/// How often the statement is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    #[default]
    Once,
    /// Until it affects nothing.
    UntilNothing,
}

fn repeat<'de, D: Deserializer<'de>>(from: D) -> Result<Repeat, D::Error> {
    Ok(if bool::deserialize(from)? { Repeat::UntilNothing } else { Repeat::Once })
}

/// Jobs of this kind, as a file has them.
pub const EXAMPLE: &str = r#"[jobs.no-orphaned-invoices]
schedule = "daily 06:00"
run_as = "app_readonly"

[jobs.no-orphaned-invoices.sql]
statement = """
SELECT i.id, i.customer_id FROM app.invoices i
WHERE NOT EXISTS (SELECT FROM app.customers c WHERE c.id = i.customer_id)"""
expect = "no rows"

[jobs.forget-idempotency-keys]
schedule = "every 1h"

[jobs.forget-idempotency-keys.sql]
statement = """
DELETE FROM app.idempotency_keys WHERE id IN (
  SELECT id FROM app.idempotency_keys WHERE expires_at < now() LIMIT 1000 FOR UPDATE SKIP LOCKED)"""
repeat = true
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "statement",
        takes: "SQL statement",
        default: "none: it must be given",
        help: "One statement; `:name` stands for a declared input.",
    },
    Param {
        name: "expect",
        takes: "\"no rows\", \"rows\" or { min, max }",
        default: "any number of rows will do",
        help: "How many rows it should give or affect; otherwise the run fails, with the rows, and nothing is committed.",
    },
    Param {
        name: "repeat",
        takes: "true or false",
        default: "false",
        help: "Executes an INSERT, UPDATE, DELETE or MERGE again and again until it affects nothing, each time in a transaction of its own.",
    },
    Param {
        name: "pacing",
        takes: "\"gentle\" or \"full\"",
        default: "\"gentle\"",
        help: "Whether repetitions rest as long as the last one took, or not at all.",
    },
    Param {
        name: "limit_rows",
        takes: "rows",
        default: "no limit",
        help: "Ends the repetition as succeeded after about that many rows.",
    },
    Param {
        name: "time_limit",
        takes: "duration or seconds",
        default: "no limit",
        help: "Ends the repetition as succeeded after that long.",
    },
    Param {
        name: "statement_timeout",
        takes: "duration or seconds",
        default: "5m",
        help: "The most that one execution may take.",
    },
    Param {
        name: "lock_timeout",
        takes: "duration or seconds",
        default: "200ms",
        help: "The most that it may wait for a lock; it is tried ten times, under another role once.",
    },
    Param {
        name: "keep_rows",
        takes: "rows",
        default: "20",
        help: "How many of its rows the report keeps, up to 100; each is cut at 2,000 characters.",
    },
];

/// What a statement may begin with. Transaction control is none of it, nor what cannot run in a transaction.
const VERBS: &[&str] = &[
    "select", "with", "values", "table", "insert", "update", "delete", "merge", "call", "do", "truncate",
    "refresh", "analyze", "create", "alter", "drop", "grant", "revoke", "comment",
];

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        check::sql("statement", &self.statement)?;
        let verb = self.verb();
        if !VERBS.contains(&verb.as_str()) {
            let known = VERBS.join(", ").to_uppercase();
            return wrong("statement", &format!("begins with \"{verb}\", and not with one of {known}"));
        }
        if let Some(expect) = self.expect {
            expect.check()?;
        }
        if !(1..=100).contains(&self.keep_rows) {
            return wrong("keep_rows", "must be from 1 to 100 rows");
        }
        self.check_repeat()
    }

    fn check_repeat(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        match self.repeat {
            Repeat::UntilNothing if !self.is_any_of(&["insert", "update", "delete", "merge", "with"]) => {
                return wrong(
                    "repeat",
                    "needs an INSERT, UPDATE, DELETE or MERGE: what affects nothing in the end",
                );
            }
            Repeat::UntilNothing if self.expect.is_some() => {
                return wrong("expect", "does not go with repeat, which ends when nothing is affected");
            }
            Repeat::Once if self.limit_rows.is_some() => return wrong("limit_rows", "needs repeat = true"),
            Repeat::Once if self.time_limit.is_some() => return wrong("time_limit", "needs repeat = true"),
            _ => {}
        }
        if self.limit_rows == Some(0) {
            return wrong("limit_rows", "must be at least 1; disarm the job if it is to do nothing");
        }
        Ok(())
    }

    /// The first word of the statement, behind comments and parentheses, in lower case.
    fn verb(&self) -> String {
        let mut rest = self.statement.as_str();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
            rest = match rest.as_bytes() {
                [b'-', b'-', ..] => &rest[rest.find('\n').unwrap_or(rest.len())..],
                [b'/', b'*', ..] => &rest[inputs::comment(rest).unwrap_or(rest.len())..],
                _ => break,
            };
        }
        rest.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>().to_lowercase()
    }

    fn is_any_of(&self, verbs: &[&str]) -> bool {
        verbs.contains(&self.verb().as_str())
    }

    /// Whether what it counts are rows that it affects, even if it gives them.
    pub fn writes(&self) -> bool {
        self.is_any_of(&["insert", "update", "delete", "merge"])
    }

    /// Whether EXPLAIN takes it.
    pub fn can_be_planned(&self) -> bool {
        self.writes() || self.is_any_of(&["select", "with", "values", "table"])
    }

    /// Whether it is repeated though its last part may be a SELECT, which always gives rows.
    pub fn repeats_a_with(&self) -> bool {
        self.repeat == Repeat::UntilNothing && self.is_any_of(&["with"])
    }

    /// The limits of one execution and of its waits for locks.
    pub fn timeouts(&self) -> [Duration; 2] {
        let or = |limit: Option<Limit>, default| limit.map_or(default, |limit| limit.0);
        [
            or(self.statement_timeout, Duration::from_secs(300)),
            or(self.lock_timeout, Duration::from_millis(200)),
        ]
    }

    /// The budget of time: the smaller of the job's and the occurrence's.
    ///
    /// # Errors
    /// [`Stop::Refused`] if that of the occurrence is no duration.
    pub fn time_limit(&self, options: &Options) -> Result<Option<Duration>, Stop> {
        let asked = options.time_limit.as_deref().map(Limit::parse).transpose();
        let asked = asked
            .map_err(|message| Stop::refused(format!("time_limit: {message}"), "run it again without"))?;
        Ok([self.time_limit, asked].into_iter().flatten().map(|limit| limit.0).min())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::Registry;

    fn problem(params: serde_json::Value) -> Option<String> {
        let registry = Registry::with_builtins();
        registry.get("sql").expect("it is built in").check(&params).err().map(|error| error.to_string())
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (params, part) in [
            (json!({}), "statement"),
            (json!({"statement": " "}), "params.statement: is empty"),
            (json!({"statement": "COMMIT"}), "begins with \"commit\""),
            (json!({"statement": "-- x\n/* y /* z */ */ (rollback)"}), "begins with \"rollback\""),
            (json!({"statement": "VACUUM t"}), "begins with \"vacuum\""),
            (json!({"statement": "SELECT $1"}), "numbered parameters"),
            (json!({"statement": "SELECT 1", "repeat": true}), "params.repeat"),
            (json!({"statement": "DELETE FROM t", "repeat": true, "expect": "no rows"}), "params.expect"),
            (json!({"statement": "SELECT 1", "expect": "none"}), "no rows"),
            (json!({"statement": "SELECT 1", "expect": {"max": 1, "least": 2}}), "least"),
            (json!({"statement": "SELECT 1", "limit_rows": 5}), "params.limit_rows: needs repeat"),
            (json!({"statement": "SELECT 1", "keep_rows": 1000}), "params.keep_rows"),
            (json!({"statement": "SELECT 1", "statement_timeout": 0}), "params.statement_timeout"),
            (json!({"statement": "SELECT 1", "run_as": "x"}), "run_as"),
        ] {
            let found = problem(params.clone()).unwrap_or_else(|| panic!("{params} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_verb_stands_behind_comments_and_parentheses() {
        for statement in ["/* why */ ((SELECT 1))", "-- why\n  with x as (select 1) select 2", "DO $$ $$"] {
            assert_eq!(problem(json!({"statement": statement})), None, "{statement}");
        }
    }

    #[test]
    fn the_table_is_complete() {
        for param in TABLE {
            let found = problem(json!({"statement": "SELECT 1", param.name: [[]]}));
            let found = found.unwrap_or_else(|| panic!("{} takes anything", param.name));
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
