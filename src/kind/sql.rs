//! Statements that a kind puts together: quoted names and bound values.
//!
//! Text comes from three sources alone: names that the server quoted, an author's SQL within parentheses of its own, and
//! a kind's fixed words. Values are bound. What is easy to get wrong: the text must be the same from batch to batch, since
//! statements are prepared by their text; a value in it would prepare a new one each time.

use std::collections::BTreeMap;

use tokio_postgres::types::{ToSql, Type};

use super::{
    RunContext, Stop,
    inputs::{Input, Piece},
};
use crate::error::Error;

/// SQL that stands for itself wherever it is put: quoted by the server, or in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// A name as the server quoted it.
    pub fn by_server(name: String) -> Self {
        Quoted(name)
    }

    /// A name that does not come from the catalog, such as that of an index to be made.
    pub fn name(name: &str) -> Self {
        Quoted(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    /// An author's expression. The line break ends a comment that the author may have ended it with.
    pub fn expression(text: &str) -> Self {
        Quoted(format!("({text}\n)"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A statement and its values.
#[derive(Default)]
pub struct Sql<'a> {
    /// Its text, with `$1…` for the values.
    pub text: String,
    /// The values.
    pub values: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Sql<'a> {
    /// Begins with fixed words.
    pub fn new(text: &str) -> Self {
        Sql { text: text.to_owned(), values: Vec::new() }
    }

    /// Adds fixed words, or the text of a [`Quoted`].
    #[must_use]
    pub fn then(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// Adds a value.
    #[must_use]
    pub fn bind(mut self, value: &'a (dyn ToSql + Sync), type_name: &str) -> Self {
        self.values.push(value);
        self.text.push_str(&format!("${}::{type_name}", self.values.len()));
        self
    }

    /// Adds an author's SQL with the values of its inputs.
    #[must_use]
    pub fn pieces(mut self, pieces: &[Piece], inputs: &'a BTreeMap<String, Input>) -> Self {
        for piece in pieces {
            self = match piece {
                Piece::Sql(text) => self.then(text),
                Piece::Input(name) => match inputs.get(name) {
                    Some(input) => self.bind(input, input.type_name()),
                    None => self.then("NULL"),
                },
            };
        }
        self
    }
}

/// Whether the server found fault with a text, and not with the circumstances (a lock, a timeout).
pub fn is_about_the_text(error: &Error) -> bool {
    error.sqlstate().is_some_and(|code| ["0A", "22", "3F", "42"].contains(&&code[..2]))
}

/// Has the server judge an author's text: whether it is one expression over the columns of `table`. Returns its type.
/// What closes our parenthesis early does not fit into a bracket as well, hence more than one probe. `param` is where
/// the text stands.
///
/// # Errors
/// [`Stop::Refused`] with what the server said.
///
/// # Cancel safety
/// As [`RunContext::query`].
pub async fn expression_type(
    context: &mut RunContext,
    table: &Quoted,
    param: &str,
    text: &str,
) -> Result<Type, Stop> {
    let table = table.as_str();
    let probes = [
        format!("SELECT ({text}\n) FROM {table}"),
        format!("SELECT ARRAY[{text}\n] FROM {table}"),
        format!("SELECT 1 FROM {table} WHERE ({text}\n) IS NULL"),
    ];
    let mut found = None;
    for probe in probes {
        let statement = match context.describe(&probe).await {
            Err(Stop::Failed(error)) if is_about_the_text(&error) => {
                let reason = format!("params.{param}: {error}, in: {}", text.trim());
                return Err(Stop::refused(reason, "edit the job"));
            }
            answer => answer?,
        };
        if let (None, [column]) = (&found, statement.columns()) {
            found = Some(column.type_().clone());
        }
    }
    found.ok_or_else(|| Stop::refused(format!("params.{param}: is not one expression"), "edit the job"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_order_and_never_in_the_text() {
        let inputs =
            BTreeMap::from([("x".to_owned(), Input::new("bigint", 7.into()).expect("a known type"))]);
        let pieces = super::super::inputs::cut("a = :x OR b = ':x'").expect("well formed");
        let sql =
            Sql::new("SELECT ").bind(&1_i32, "int").then(" WHERE (").pieces(&pieces, &inputs).then("\n)");
        assert_eq!(sql.text, "SELECT $1::int WHERE (a = $2::bigint OR b = ':x'\n)");
        assert_eq!(sql.values.len(), 2);
    }

    #[test]
    fn names_are_quoted() {
        assert_eq!(Quoted::name(r#"a"b; drop"#).as_str(), r#""a""b; drop""#);
        assert_eq!(Quoted::expression("a -- all").as_str(), "(a -- all\n)");
    }
}
