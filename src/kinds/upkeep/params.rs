//! The parameters of an upkeep: a closed set, each documented once in [`TABLE`].

use std::{fmt, time::Duration};

use serde::Deserialize;

use crate::kind::{
    Options, Param, ParamError, Stop, check,
    interval::{Limit, Retention},
};

/// What an upkeep job is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Tables by name; every table of the application if absent.
    pub tables: Option<Vec<String>>,
    /// What is done with tables.
    pub actions: Option<Vec<Action>>,
    /// Tables with fewer dead rows are clean.
    pub dead_rows: Option<u32>,
    /// Tables with a smaller share of dead rows are clean.
    pub dead_fraction: Option<f64>,
    /// Tables that were vacuumed longer ago are vacuumed though they are clean.
    pub vacuumed_before: Option<Retention>,
    /// Indexes with a smaller share of air are left.
    pub bloat_fraction: Option<f64>,
    /// Indexes that are smaller are left.
    #[serde(default = "ten_megabytes")]
    pub index_bytes: i64,
    /// Indexes that are to be there.
    #[serde(default)]
    pub create_indexes: Vec<NewIndex>,
    /// Materialized views to refresh.
    #[serde(default)]
    pub refresh: Vec<String>,
    /// Ends the run, as succeeded, after that long.
    pub time_limit: Option<Limit>,
}

fn ten_megabytes() -> i64 {
    10_000_000
}

/// What is done with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `VACUUM`.
    Vacuum,
    /// `ANALYZE`.
    Analyze,
    /// `REINDEX INDEX CONCURRENTLY` of its indexes.
    Reindex,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Vacuum => "vacuum",
            Action::Analyze => "analyze",
            Action::Reindex => "reindex",
        })
    }
}

/// An index that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIndex {
    /// Its table.
    pub table: String,
    /// Its name, without a schema.
    pub name: String,
    /// What stands behind the table in `CREATE INDEX`: `(created_at)`, `USING gin (tags) WHERE …`.
    pub on: String,
    /// Whether it is unique.
    #[serde(default)]
    pub unique: bool,
}

/// From where on a table needs cleaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// At least that many dead rows,
    pub dead_rows: i64,
    /// and at least that share of all.
    pub dead_fraction: f64,
}

/// Jobs of this kind, as a file has them.
pub const EXAMPLE: &str = r#"[jobs.nightly-upkeep]
schedule = "daily 03:30"

[jobs.nightly-upkeep.upkeep]
actions = ["vacuum", "analyze", "reindex"]
dead_rows = 50000
vacuumed_before = "7 days"
time_limit = "2h"

[jobs.sales-by-day]
schedule = "every 1h"

[jobs.sales-by-day.upkeep]
refresh = ["app.sales_by_day"]
create_indexes = [{ table = "app.audit_log", name = "audit_log_created_at", on = "(created_at)" }]
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "tables",
        takes: "list of table names",
        default: "every table that the replica's role owns, or whose owner it may act for",
        help: "The tables, as SQL would name them; for a partitioned one its partitions too.",
    },
    Param {
        name: "actions",
        takes: "list of \"vacuum\", \"analyze\", \"reindex\"",
        default: "[\"vacuum\", \"analyze\"]; none if only `refresh` or `create_indexes` is given",
        help: "What is done with the tables.",
    },
    Param {
        name: "dead_rows",
        takes: "rows",
        default: "10000; 0 for `tables` without thresholds",
        help: "A table is vacuumed and analyzed if it has at least so many dead rows, and `dead_fraction` is reached too.",
    },
    Param {
        name: "dead_fraction",
        takes: "fraction from 0 to 1",
        default: "0.1; 0 for `tables` without thresholds",
        help: "A table is vacuumed and analyzed if at least this share of its rows is dead, and `dead_rows` is reached too.",
    },
    Param {
        name: "vacuumed_before",
        takes: "interval or seconds",
        default: "never for this reason",
        help: "A table is vacuumed and analyzed also if its last VACUUM, automatic or not, is longer ago than this.",
    },
    Param {
        name: "bloat_fraction",
        takes: "fraction above 0, below 1",
        default: "0.5; every index of `tables` without it",
        help: "An index is rebuilt if an estimated share of it at least this large is air.",
    },
    Param {
        name: "index_bytes",
        takes: "bytes",
        default: "10000000",
        help: "With `bloat_fraction`, smaller indexes are left as they are.",
    },
    Param {
        name: "create_indexes",
        takes: "list of { table, name, on, unique }",
        default: "none: no index is built",
        help: "Indexes that are built if they are not there; `on` is what follows the table in CREATE INDEX: \"(created_at)\".",
    },
    Param {
        name: "refresh",
        takes: "list of names",
        default: "none: no view is refreshed",
        help: "Materialized views that are refreshed.",
    },
    Param {
        name: "time_limit",
        takes: "duration or seconds",
        default: "no limit",
        help: "Begins no further step after that long, and ends the run as succeeded.",
    },
];

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if self.tables.as_ref().is_some_and(Vec::is_empty) {
            return wrong("tables", "is empty; leave it out for every table");
        }
        check::names("tables", self.tables.as_deref().unwrap_or_default())?;
        check::names("refresh", &self.refresh)?;
        check::once("actions", self.actions.iter().flatten())?;
        if self.actions.as_ref().is_some_and(Vec::is_empty)
            && self.refresh.is_empty()
            && self.create_indexes.is_empty()
        {
            return wrong("actions", "is empty, and there is nothing else to do");
        }
        if self.dead_fraction.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return wrong("dead_fraction", "must be from 0 to 1, such as 0.1");
        }
        if self.bloat_fraction.is_some_and(|share| share <= 0.0 || share >= 1.0) {
            return wrong("bloat_fraction", "must be above 0 and below 1, such as 0.5");
        }
        if self.index_bytes < 0 {
            return wrong("index_bytes", "is negative");
        }
        if self.bloat_fraction.is_some() && !self.actions().contains(&Action::Reindex) {
            return wrong("bloat_fraction", "needs \"reindex\" among the actions");
        }
        self.check_indexes()
    }

    fn check_indexes(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        for (at, index) in self.create_indexes.iter().enumerate() {
            let path = |name: &str| format!("create_indexes[{at}].{name}");
            check::text(path("table"), &index.table)?;
            if index.name.trim().is_empty() || index.name.len() > 63 {
                return wrong(&path("name"), "must have from 1 to 63 bytes");
            }
            check::sql(path("on"), &index.on)?;
            let on = index.on.trim_start().to_lowercase();
            if !on.starts_with('(') && !on.starts_with("using ") {
                return wrong(
                    &path("on"),
                    "must begin with a parenthesis or USING, such as \"(created_at)\"",
                );
            }
        }
        let whole = |index: &NewIndex| format!("{} on {}", index.name, index.table);
        check::once("create_indexes", self.create_indexes.iter().map(whole))
    }

    /// What is done with tables.
    pub fn actions(&self) -> &[Action] {
        let others = !self.refresh.is_empty() || !self.create_indexes.is_empty();
        match &self.actions {
            Some(actions) => actions,
            None if others && self.tables.is_none() => &[],
            None => &[Action::Vacuum, Action::Analyze],
        }
    }

    /// From where on a table needs cleaning; `None` if it is cleaned in any case: named, and without a threshold.
    pub fn thresholds(&self) -> Option<Thresholds> {
        let given =
            self.dead_rows.is_some() || self.dead_fraction.is_some() || self.vacuumed_before.is_some();
        if self.tables.is_some() && !given {
            return None;
        }
        Some(Thresholds {
            dead_rows: self.dead_rows.unwrap_or(10_000).into(),
            dead_fraction: self.dead_fraction.unwrap_or(0.1),
        })
    }

    /// From which estimated share of air on an index is rebuilt; `None` if it is in any case.
    pub fn bloat_fraction(&self) -> Option<f64> {
        self.bloat_fraction.or(if self.tables.is_some() { None } else { Some(0.5) })
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
        registry.get("upkeep").expect("it is built in").check(&params).err().map(|error| error.to_string())
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(problem(json!({})), None);
        for (params, part) in [
            (json!({"tables": []}), "params.tables: is empty"),
            (json!({"actions": ["vaccuum"]}), "vaccuum"),
            (json!({"actions": []}), "params.actions"),
            (json!({"dead_fraction": 2}), "params.dead_fraction"),
            (json!({"bloat_fraction": 0.5}), "params.bloat_fraction: needs"),
            (json!({"bloat_fraction": 1.0, "actions": ["reindex"]}), "params.bloat_fraction"),
            (json!({"index_bytes": -1}), "params.index_bytes"),
            (json!({"vacuumed_before": "soon"}), "params.vacuumed_before"),
            (
                json!({"create_indexes": [{"table": "t", "name": "", "on": "(a)"}]}),
                "params.create_indexes[0].name",
            ),
            (
                json!({"create_indexes": [{"table": "t", "name": "i", "on": "a"}]}),
                "params.create_indexes[0].on",
            ),
            (json!({"table": "t"}), "table"),
        ] {
            let found = problem(params.clone()).unwrap_or_else(|| panic!("{params} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn named_tables_need_no_threshold() {
        let params = |json| serde_json::from_value::<Params>(json).expect("it is well formed");
        assert_eq!(params(json!({"tables": ["t"]})).thresholds(), None);
        assert_eq!(params(json!({})).thresholds().map(|found| found.dead_rows), Some(10_000));
        let late = params(json!({"tables": ["t"], "vacuumed_before": "7 days"})).thresholds();
        assert_eq!(late, Some(Thresholds { dead_rows: 10_000, dead_fraction: 0.1 }));
        assert!(params(json!({"refresh": ["v"]})).actions().is_empty());
        assert_eq!(params(json!({"refresh": ["v"], "tables": ["t"]})).actions().len(), 2);
    }

    #[test]
    fn the_table_is_complete() {
        for param in TABLE {
            let found = problem(json!({param.name: [[]]}));
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
