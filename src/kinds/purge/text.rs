//! The words that a purge's statements are made of: SQL that stands for itself, and a text with its values.
//!
//! What is easy to get wrong: the text must be the same from batch to batch, since statements are prepared by their
//! text; so what differs between batches is bound.

use tokio_postgres::types::ToSql;

/// SQL that stands for itself wherever it is put: quoted by the server, or in parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(pub(super) String);

impl Quoted {
    /// A name as the server quoted it.
    pub fn by_server(name: String) -> Self {
        Quoted(name)
    }

    /// An author's expression. The line break ends a comment that the author may have ended it with.
    pub fn expression(text: &str) -> Self {
        Quoted(format!("({text}\n)"))
    }

    /// What was put together of such text by the rules above.
    pub(super) fn raw(text: String) -> Self {
        Quoted(text)
    }

    /// Within a statement.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Quoted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
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
    pub(super) fn new(text: &str) -> Self {
        Sql { text: text.to_owned(), values: Vec::new() }
    }

    pub(super) fn add(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn bind(mut self, value: &'a (dyn ToSql + Sync), type_name: &str) -> Self {
        self.values.push(value);
        self.text.push_str(&format!("${}::{type_name}", self.values.len()));
        self
    }
}
