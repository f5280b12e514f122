//! The parameters of a job that removes references: a closed set, each documented once in `described`.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{audit::Audit, path::Path};
use crate::kind::{ParamError, check, interval::Limit, pace::Pacing};

/// What such a job is told. See `described` for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The table.
    pub table: String,
    /// The columns that hold references.
    #[serde(deserialize_with = "columns")]
    pub columns: Vec<Column>,
    /// The ids that there are.
    pub valid: Option<String>,
    /// The ids whose time is over.
    pub expired: Option<String>,
    /// Whether `valid` may give no id at all.
    #[serde(default)]
    pub allow_empty: bool,
    /// Which rows.
    #[serde(rename = "where")]
    pub predicate: Option<String>,
    /// The column that says who changed a row last.
    pub editor: Option<String>,
    /// The column that says when a row was changed last.
    pub edited_at: Option<String>,
    /// Who is told of a changed row.
    pub owner: Option<String>,
    /// Where an owner is reached.
    pub recipients: Option<String>,
    /// Where changes are recorded besides Sexton's own audit.
    pub audit: Option<Audit>,
    /// Refuses to change more rows.
    pub refuse_above: Option<u64>,
    /// Refuses to remove a larger share of the references.
    #[serde(default = "half")]
    pub max_fraction: f64,
    /// Ends the run, as succeeded, after that many changed rows.
    pub limit_rows: Option<u64>,
    /// Ends the run, as succeeded, after that long.
    pub time_limit: Option<Limit>,
    /// Rows looked at in a batch.
    #[serde(default = "thousand")]
    pub batch: u64,
    /// The rest between batches.
    #[serde(default)]
    pub pacing: Pacing,
}

fn half() -> f64 {
    0.5
}

fn thousand() -> u64 {
    1000
}

/// A column that holds references.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where they stand in it, if it is jsonb.
    #[serde(default, deserialize_with = "path")]
    pub path: Option<Path>,
    /// What becomes of a row whose one reference dangles.
    pub on_dangling: Option<OnDangling>,
    /// The ids that there are, for this column.
    pub valid: Option<String>,
    /// The ids whose time is over, for this column.
    pub expired: Option<String>,
}

/// What becomes of a row whose one reference dangles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDangling {
    /// The reference is set to NULL.
    #[default]
    Null,
    /// The row is deleted.
    Delete,
}

impl Params {
    /// The ids that there are for a column: its own, or else those for all.
    pub fn valid_for<'a>(&'a self, column: &'a Column) -> Option<&'a str> {
        column.valid.as_deref().or(self.valid.as_deref())
    }

    /// The ids whose time is over for a column: its own, or else those for all.
    pub fn expired_for<'a>(&'a self, column: &'a Column) -> Option<&'a str> {
        column.expired.as_deref().or(self.expired.as_deref())
    }

    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: &str| Err(ParamError::new(path, message));
        if self.table.trim().is_empty() {
            return wrong("table", "is empty");
        }
        self.check_columns()?;
        let texts = [
            ("valid", &self.valid),
            ("expired", &self.expired),
            ("where", &self.predicate),
            ("recipients", &self.recipients),
        ];
        for (path, text) in texts {
            check_text(path, text.as_deref())?;
        }
        if let Some(owner) = &self.owner {
            check::text("owner", owner)?;
        }
        if self.recipients.is_some() && self.owner.is_none() {
            return wrong("recipients", "needs `owner`: whom a changed row belongs to");
        }
        self.check_edited()?;
        if let Some(audit) = &self.audit {
            audit.check(self.owner.as_deref())?;
        }
        if !(self.max_fraction > 0.0 && self.max_fraction <= 1.0) {
            return wrong("max_fraction", "must be above 0 and at most 1; 1 switches this guard off");
        }
        if !(1..=100_000).contains(&self.batch) {
            return wrong("batch", "must be from 1 to 100000 rows");
        }
        if self.refuse_above == Some(0) {
            return wrong("refuse_above", "must be at least 1; disarm the job if it is to change nothing");
        }
        if self.limit_rows == Some(0) {
            return wrong("limit_rows", "must be at least 1; pause the job if it is to change nothing");
        }
        Ok(())
    }

    fn check_columns(&self) -> Result<(), ParamError> {
        let wrong = |path: String, message: &str| Err(ParamError::new(path, message));
        if self.columns.is_empty() {
            return wrong("columns".to_owned(), "is empty; name at least one column");
        }
        for (index, column) in self.columns.iter().enumerate() {
            let at = |field: &str| format!("columns[{index}].{field}");
            if column.name.trim().is_empty() {
                return wrong(at("name"), "is empty");
            }
            if self.columns[..index].iter().any(|other| other.name == column.name) {
                return wrong(at("name"), "is named twice; give each path of one column a job of its own");
            }
            if self.valid_for(column).is_none() && self.expired_for(column).is_none() {
                return wrong(
                    "valid".to_owned(),
                    "is missing, and so is `expired`: one of them says which ids go",
                );
            }
            if column.path.is_some() && column.on_dangling.is_some() {
                return wrong(at("on_dangling"), "is for a column of one reference, not for a list");
            }
            check_text(&at("valid"), column.valid.as_deref())?;
            check_text(&at("expired"), column.expired.as_deref())?;
        }
        Ok(())
    }

    fn check_edited(&self) -> Result<(), ParamError> {
        for (path, name) in [("editor", &self.editor), ("edited_at", &self.edited_at)] {
            let Some(name) = name else { continue };
            if name.trim().is_empty() {
                return Err(ParamError::new(path, "is empty"));
            }
            if self.columns.iter().any(|column| column.name == *name) {
                return Err(ParamError::new(path, "is one of `columns`"));
            }
        }
        match self.editor.is_some() && self.editor == self.edited_at {
            true => Err(ParamError::new("edited_at", "is `editor` too")),
            false => Ok(()),
        }
    }
}

fn check_text(path: &str, text: Option<&str>) -> Result<(), ParamError> {
    text.map_or(Ok(()), |text| check::sql(path, text))
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Path>, D::Error> {
    Path::parse(&String::deserialize(from)?).map(Some).map_err(de::Error::custom)
}

fn columns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Column>, D::Error> {
    from.deserialize_any(Columns)
}

/// One column or a list of them.
struct Columns;

impl<'de> de::Visitor<'de> for Columns {
    type Value = Vec<Column>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column, or a list of columns")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(vec![named(name)])
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Column::deserialize(de::value::MapAccessDeserializer::new(map)).map(|column| vec![column])
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut columns = Vec::new();
        while let Some(OneColumn(column)) = list.next_element()? {
            columns.push(column);
        }
        Ok(columns)
    }
}

/// One column: its name, or a table.
struct OneColumn(Column);

impl<'de> Deserialize<'de> for OneColumn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneColumnVisitor).map(OneColumn)
    }
}

struct OneColumnVisitor;

impl<'de> de::Visitor<'de> for OneColumnVisitor {
    type Value = Column;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column, or { name = \"…\", path = \"…\" }")
    }

    fn visit_str<E>(self, name: &str) -> Result<Column, E> {
        Ok(named(name))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Column, A::Error> {
        Column::deserialize(de::value::MapAccessDeserializer::new(map))
    }
}

fn named(name: &str) -> Column {
    Column { name: name.to_owned(), path: None, on_dangling: None, valid: None, expired: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::described::TABLE;
    use crate::kind::Registry;

    fn problem(params: serde_json::Value) -> Option<String> {
        let registry = Registry::with_builtins();
        registry
            .get("references")
            .expect("it is built in")
            .check(&params)
            .err()
            .map(|error| error.to_string())
    }

    fn good() -> serde_json::Value {
        json!({"table": "teams", "columns": "members", "valid": "SELECT id FROM users"})
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        assert_eq!(problem(good()), None);
        for (name, value, part) in [
            ("columns", json!([]), "params.columns: is empty"),
            ("columns", json!(["a", "a"]), "params.columns[1].name: is named twice"),
            ("columns", json!([{"name": "a", "pth": "$[*]"}]), "unknown field `pth`"),
            ("columns", json!({"name": "a", "path": "$.a"}), "no path to an array"),
            (
                "columns",
                json!({"name": "a", "path": "$[*]", "on_dangling": "null"}),
                "params.columns[0].on_dangling",
            ),
            ("valid", json!(null), "params.valid: is missing"),
            ("valid", json!("SELECT 'x"), "params.valid"),
            ("recipients", json!("SELECT mail FROM users"), "needs `owner`"),
            ("editor", json!("members"), "params.editor: is one of `columns`"),
            ("max_fraction", json!(0), "params.max_fraction"),
            ("batch", json!(0), "params.batch"),
            ("limit_rows", json!(0), "params.limit_rows"),
            ("colums", json!(1), "colums"),
        ] {
            let mut params = good();
            params[name] = value;
            let found = problem(params).unwrap_or_else(|| panic!("{name} passed"));
            assert!(found.contains(part), "{found:?} does not say {part:?}");
        }
    }

    #[test]
    fn columns_are_a_name_a_table_or_a_list_of_both() {
        for columns in [
            json!("a"),
            json!({"name": "a", "path": "$[*].id"}),
            json!(["a", {"name": "b", "on_dangling": "delete", "valid": "SELECT id FROM tags"}]),
        ] {
            let mut params = good();
            params["columns"] = columns;
            assert_eq!(problem(params), None);
        }
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
        let known = unknown.matches('`').count() / 2 - 1;
        assert_eq!(known, TABLE.len(), "a parameter is not described: {unknown}");
    }
}
