//! The parameters of a backup: a closed set, each documented once in [`TABLE`].

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    kind::{Param, ParamError, check},
    outside::{
        backup::{Format, Keep, is_name, is_prefix},
        secrets,
    },
};

/// What a backup job is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The storage's name.
    pub storage: String,
    /// Put before every key.
    #[serde(default)]
    pub prefix: String,
    /// What is exported.
    pub sets: Vec<Set>,
    /// Which backups are kept; all, if it is left out.
    pub keep: Option<Keep>,
}

/// One set of a backup.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Its name; that of its table, if it is left out.
    name: Option<String>,
    /// All columns of a table.
    pub table: Option<String>,
    /// Or what a query gives.
    pub query: Option<String>,
    /// Which rows of the table.
    #[serde(rename = "where")]
    pub predicate: Option<String>,
    /// How a row is written.
    #[serde(default)]
    pub format: Format,
}

/// A job of this kind, as a file has it.
pub const EXAMPLE: &str = r#"[jobs.nightly-backup]
schedule = "daily 02:30"

[jobs.nightly-backup.backup]
storage = "offsite"
keep = { daily = 7, weekly = 4, monthly = 12 }

[[jobs.nightly-backup.backup.sets]]
table = "app.users"

[[jobs.nightly-backup.backup.sets]]
table = "app.orders"
where = "status <> 'draft'"

[[jobs.nightly-backup.backup.sets]]
name = "revenue"
query = "SELECT date_trunc('day', paid_at) AS day, sum(total) AS total FROM app.orders GROUP BY 1"
format = "csv"
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "storage",
        takes: "name of a storage",
        default: "none: it must be given",
        help: "Where backups go: a name that the replica's local file knows under `[storages.NAME]`, which says also whether they are encrypted.",
    },
    Param {
        name: "prefix",
        takes: "text",
        default: "none: keys begin with the job's name",
        help: "Put before every key, below the storage's own prefix: two installations with one storage need it.",
    },
    Param {
        name: "sets",
        takes: "list of sets",
        default: "none: it must be given",
        help: "What is exported, all from one snapshot: each a `table`, perhaps with `where`, or a `query` with a `name`; `format` is jsonl or csv.",
    },
    Param {
        name: "keep",
        takes: "{ last, daily, weekly, monthly, yearly }, each a number of backups",
        default: "every backup is kept",
        help: "How many backups stay: `last`, and the newest of each of so many days (`daily`), `weekly`, `monthly`, `yearly`.",
    },
];

impl Params {
    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if !secrets::is_name(&self.storage) {
            return wrong("storage", "takes a name of the replica's local file: [storages.NAME]");
        }
        if !is_prefix(&self.prefix) {
            return wrong("prefix", "takes letters, digits and . _ - in parts divided by /");
        }
        if self.sets.is_empty() {
            return wrong("sets", "is empty; name at least one table or query");
        }
        if self.keep.is_some_and(|keep| keep.is_empty()) {
            return wrong(
                "keep",
                "keeps nothing but the newest; say so by last = 1, or leave it out to keep all",
            );
        }
        let mut names = BTreeSet::new();
        for (index, set) in self.sets.iter().enumerate() {
            set.check(&format!("sets[{index}]"))?;
            if !names.insert(set.name()) {
                return wrong(&format!("sets[{index}].name"), &format!("\"{}\" is there twice", set.name()));
            }
        }
        Ok(())
    }
}

impl Set {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().or(self.table.as_deref()).unwrap_or_default()
    }

    fn check(&self, path: &str) -> Result<(), ParamError> {
        let wrong =
            |name: &str, message: &str| Err(ParamError::new(format!("{path}{name}"), message.to_owned()));
        if let Some(table) = &self.table {
            check::text(format!("{path}.table"), table)?;
        }
        for (name, text) in [("query", &self.query), ("where", &self.predicate)] {
            if let Some(text) = text {
                check::sql(format!("{path}.{name}"), text)?;
            }
        }
        match (&self.table, &self.query) {
            (None, None) => return wrong("", "needs a table or a query"),
            (Some(_), Some(_)) => return wrong("", "has a table and a query; make two sets of it"),
            (None, Some(_)) if self.predicate.is_some() => {
                return wrong(".where", "goes with a table; put it into the query");
            }
            (None, Some(_)) if self.name.is_none() => return wrong(".name", "must be given for a query"),
            _ => {}
        }
        if !is_name(self.name()) {
            return wrong(".name", "must be given, of letters, digits and . _ - alone, at most 100");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kind::Registry;

    fn problem(params: Value) -> Option<String> {
        let registry = Registry::with_builtins();
        registry.get("backup").expect("it is built in").check(&params).err().map(|error| error.to_string())
    }

    fn with(name: &str, value: Value) -> Value {
        let mut params = json!({"storage": "s", "sets": [{"table": "t"}]});
        params[name] = value;
        params
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(problem(with("prefix", json!("a/b"))), None);
        for (name, value, part) in [
            ("storage", json!(" "), "params.storage: takes a name"),
            ("keep", json!([1]), "params.keep: takes a table with last, daily"),
            ("prefix", json!("a:b"), "params.prefix"),
            ("sets", json!([]), "params.sets: is empty"),
            ("sets", json!([{}]), "params.sets[0]: needs a table or a query"),
            ("sets", json!([{"table": "t", "query": "SELECT 1"}]), "make two sets"),
            ("sets", json!([{"query": "SELECT 1"}]), "params.sets[0].name"),
            ("sets", json!([{"query": "SELECT 1", "name": "a", "where": "x"}]), "params.sets[0].where"),
            ("sets", json!([{"table": "t"}, {"name": "t", "query": "SELECT 1"}]), "is there twice"),
            ("sets", json!([{"table": "\"my table\""}]), "params.sets[0].name"),
            ("sets", json!([{"table": "t", "format": "xml"}]), "jsonl"),
            ("keep", json!({}), "params.keep"),
            ("keep", json!({"hourly": 3}), "hourly"),
            ("keep", json!({"daily": -1}), "daily"),
        ] {
            let found =
                problem(with(name, value.clone())).unwrap_or_else(|| panic!("{name} = {value} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_table_is_complete() {
        let unknown = problem(with("nope", json!(1))).expect("it is refused");
        for param in TABLE {
            assert!(unknown.contains(&format!("`{}`", param.name)), "{} is not known: {unknown}", param.name);
        }
        assert_eq!(unknown.matches('`').count() / 2 - 1, TABLE.len(), "one is not described: {unknown}");
    }
}
