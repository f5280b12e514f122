//! What is to become of each job: decided purely, from the file, the row, and what was applied last.
//!
//! What is easy to get wrong: a row that differs from the file is not wrong by that. If it also differs from what was
//! applied last, a person edited it, and a deploy must not undo an operator who raised a retention.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{Options, Overwrite, Prune};
use crate::protocol::author::{Definition, Definitions};

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Created,
    /// The file differs from what was applied last, and the row did not.
    Changed {
        /// From what to what.
        fields: Vec<Field>,
    },
    /// The row is as the file has it.
    Unchanged,
    /// The row was edited by hand since it was applied last: it is left alone. `fields` go from the row to the file.
    LeftAlone {
        /// From the row's values to the file's.
        fields: Vec<Field>,
        /// Who edited it last.
        edited_by: Option<String>,
        /// When, by the database's clock.
        edited_at: Option<String>,
    },
    /// It was edited by hand, and the file's values were put in place of that, as asked for.
    Overwritten {
        /// From what to what.
        fields: Vec<Field>,
    },
    /// It is gone from the file: paused and marked.
    Removed,
    /// It was gone from the file before, and is paused.
    StillRemoved,
    /// It is gone from the file, but an operator resumed it since: it stays.
    Kept,
    /// It is gone from the file and was deleted, as asked for.
    Deleted,
}

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Which: `timeout`, `params.retention`. Durations are in seconds.
    pub path: String,
    /// What the row has; null if nothing.
    pub old: Value,
    /// What the file has; null if nothing.
    pub new: Value,
}

/// A job and what becomes of it.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    pub(super) name: &'a str,
    pub(super) change: Change,
    pub(super) row: Option<&'a Definition>,
}

/// Decides for each job of the file, and of the table; or names the jobs that belong to another application.
pub(super) fn decide<'a>(
    app: &str,
    found: &'a Definitions,
    options: &Options,
) -> Result<Vec<Decision<'a>>, Vec<&'a Definition>> {
    let rows: BTreeMap<&str, &Definition> = found.table.iter().map(|row| (row.name.as_str(), row)).collect();
    let strangers: Vec<&Definition> = found.table.iter().filter(|row| row.app != app).collect();
    if !strangers.is_empty() {
        return Err(strangers);
    }
    let named: BTreeSet<&str> = found.file.iter().map(|job| job.name.as_str()).collect();
    let mut decisions: Vec<Decision<'_>> = found
        .file
        .iter()
        .map(|job| {
            let row = rows.get(job.name.as_str()).copied();
            Decision { name: &job.name, change: for_named(job, row, options), row }
        })
        .collect();
    let gone = found.table.iter().filter(|row| !named.contains(row.name.as_str()));
    decisions.extend(gone.filter_map(|row| {
        Some(Decision { name: &row.name, change: for_gone(row, options)?, row: Some(row) })
    }));
    Ok(decisions)
}

fn for_named(file: &Definition, row: Option<&Definition>, options: &Options) -> Change {
    let Some(row) = row else { return Change::Created };
    let fields = differences(&row.columns, &file.columns);
    if fields.is_empty() {
        return Change::Unchanged;
    }
    match (is_as_applied(row), options.overwrite) {
        (true, _) => Change::Changed { fields },
        (false, Overwrite::HandEdits) => Change::Overwritten { fields },
        (false, Overwrite::Nothing) => Change::LeftAlone {
            fields,
            edited_by: row.edited_by.clone(),
            edited_at: row.edited_at.map(|at| at.to_string()),
        },
    }
}

/// For a job that the file does not name; none if it never was in a file: then it is not apply's business.
fn for_gone(row: &Definition, options: &Options) -> Option<Change> {
    let applied = row.applied.as_ref()?;
    let was_marked = applied.get("gone").is_some();
    Some(match (row.removed, was_marked, options.prune) {
        (false, true, _) => Change::Kept,
        (_, _, Prune::Delete) => Change::Deleted,
        (true, _, Prune::Keep) => Change::StillRemoved,
        (false, false, Prune::Keep) => Change::Removed,
    })
}

/// Whether nobody edited the row since it was applied. Columns that came later, by a migration, do not count.
fn is_as_applied(row: &Definition) -> bool {
    row.applied.as_ref().and_then(Value::as_object).is_some_and(|applied| {
        applied.iter().all(|(column, value)| column == "gone" || row.columns.get(column) == Some(value))
    })
}

/// What differs between two definitions, down to the single parameter.
fn differences(old: &Value, new: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    collect(String::new(), old, new, &mut fields);
    fields
}

fn collect(path: String, old: &Value, new: &Value, fields: &mut Vec<Field>) {
    if old == new {
        return;
    }
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else {
        fields.push(Field { path, old: old.clone(), new: new.clone() });
        return;
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(
            path,
            before.get(name).unwrap_or(&Value::Null),
            after.get(name).unwrap_or(&Value::Null),
            fields,
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(columns: Value, applied: Option<Value>) -> Definition {
        Definition {
            name: "a".into(),
            columns,
            app: "shop".into(),
            applied,
            generation: None,
            armed: false,
            disarmed_by: None,
            removed: false,
            edited_by: None,
            edited_at: None,
        }
    }

    fn of(file: Value, row: Value, applied: Option<Value>) -> Change {
        let file = definition(file, None);
        for_named(&file, Some(&definition(row, applied)), &Options::default())
    }

    #[test]
    fn only_a_row_as_it_was_applied_follows_the_file() {
        let (a, b, c) = (json!({"timeout": 1}), json!({"timeout": 2}), json!({"timeout": 3}));
        assert_eq!(of(a.clone(), a.clone(), None), Change::Unchanged);
        assert!(matches!(of(b.clone(), a.clone(), Some(a.clone())), Change::Changed { .. }));
        assert!(matches!(of(a.clone(), b.clone(), Some(a.clone())), Change::LeftAlone { .. }));
        assert!(matches!(of(c, b.clone(), Some(a.clone())), Change::LeftAlone { .. }));
        assert_eq!(of(b.clone(), b.clone(), Some(a.clone())), Change::Unchanged);
        assert!(matches!(of(b, a, None), Change::LeftAlone { .. }));
    }

    #[test]
    fn a_column_that_a_migration_added_is_no_edit() {
        let row = json!({"timeout": 1, "newer": true});
        let file = json!({"timeout": 2, "newer": true});
        assert!(matches!(of(file, row, Some(json!({"timeout": 1}))), Change::Changed { .. }));
    }

    #[test]
    fn differences_name_the_parameter() {
        let old = json!({"params": {"table": "t", "retention": "30 days"}, "kind": "purge"});
        let new = json!({"params": {"table": "t", "where": "x"}, "kind": "purge"});
        let paths: Vec<String> = differences(&old, &new).into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["params.retention", "params.where"]);
    }
}
