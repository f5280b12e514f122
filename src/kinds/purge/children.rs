//! Child tables, as a job names them: those whose rows go before the rows that they belong to.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{archive::Archive, hold::Protect};
use crate::kind::{ParamError, check};

/// A child table, as a job names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a table, or { table = \"…\" } with column and parent_column, parent, protect, archive"
)]
pub enum Child {
    /// By its foreign keys.
    Named(String),
    /// With more to say of it.
    Table(Box<ChildTable>),
}

/// What more there is to say of a child table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildTable {
    /// The table.
    pub table: String,
    /// Instead of foreign keys: the columns that refer to the parent.
    pub column: Option<Columns>,
    /// The columns of the parent that they refer to.
    pub parent_column: Option<Columns>,
    /// The table that they refer to; the purge's own if absent.
    pub parent: Option<String>,
    /// Which rows stay, and keep what they belong to.
    pub protect: Option<Protect>,
    /// Where its rows are kept.
    pub archive: Option<Archive>,
}

/// A column, or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a column, or a list of columns")]
pub enum Columns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Columns {
    /// Their names.
    pub fn names(&self) -> &[String] {
        match self {
            Columns::One(name) => std::slice::from_ref(name),
            Columns::Several(names) => names,
        }
    }
}

impl Child {
    /// The table, as it was written.
    pub fn table(&self) -> &str {
        match self {
            Child::Named(table) => table,
            Child::Table(more) => &more.table,
        }
    }

    /// What more the job says of it.
    pub fn more(&self) -> Option<&ChildTable> {
        match self {
            Child::Named(_) => None,
            Child::Table(table) => Some(table),
        }
    }

    /// What the shape alone cannot tell.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, path: &str) -> Result<(), ParamError> {
        let wrong = |message: String| Err(ParamError::new("children", message));
        let table = self.table();
        if table.trim().is_empty() {
            return wrong("an entry names no table".to_owned());
        }
        let Some(more) = self.more() else { return Ok(()) };
        match (&more.column, &more.parent_column) {
            (Some(column), Some(parent)) => {
                let (theirs, ours) = (column.names(), parent.names());
                check::names(&format!("{path}.column"), theirs)?;
                check::names(&format!("{path}.parent_column"), ours)?;
                if theirs.is_empty() || theirs.len() != ours.len() {
                    return wrong(format!(
                        "{table}: column and parent_column must name as many columns, at least one"
                    ));
                }
            }
            (Some(_), None) => {
                return wrong(format!("{table}: column needs parent_column, to which it refers"));
            }
            (None, Some(_)) => {
                return wrong(format!("{table}: parent_column needs column, which refers to it"));
            }
            (None, None) if more.parent.is_some() => {
                return wrong(format!("{table}: parent is for column and parent_column"));
            }
            (None, None) => {}
        }
        if let Some(parent) = &more.parent {
            check::text(format!("{path}.parent"), parent)?;
        }
        more.protect.as_ref().map_or(Ok(()), |protect| protect.check(&format!("{path}.protect")))?;
        more.archive.as_ref().map_or(Ok(()), |archive| archive.check(&format!("{path}.archive")))
    }

    /// What is wrong with a list of them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_all(children: &[Child], table: &str) -> Result<(), ParamError> {
        let mut seen = BTreeSet::new();
        for (index, child) in children.iter().enumerate() {
            child.check(&format!("children[{index}]"))?;
            if child.table() == table {
                let message = format!("{table} is the table itself; its rows go by their own age alone");
                return Err(ParamError::new("children", message));
            }
            if !seen.insert(child.table()) {
                return Err(ParamError::new("children", format!("{} is named twice", child.table())));
            }
        }
        Ok(())
    }
}
