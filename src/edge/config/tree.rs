//! A file as a tree whose every leaf knows where it stands, and the merge of several files.
//!
//! Nothing here knows what a key means. What is easy to get wrong: the tree is walked by hand and not deserialized into
//! types, since serde's errors about tagged enums and flattened structs point at a table's header instead of the value.

use std::collections::BTreeMap;

use serde_json::{Map, Number};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    sources::{Place, Problem},
    variables::{Lookup, substitute},
};

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    /// The variables that are part of it.
    pub(super) variables: Vec<String>,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
}

/// A table's entries by name, each with the place of its name.
pub(super) type Table = BTreeMap<String, (Place, Node)>;

impl Value {
    /// What it is, for errors.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    pub(super) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) => text.as_str().into(),
            Value::Integer(integer) => (*integer).into(),
            Value::Float(float) => Number::from_f64(*float).map_or(serde_json::Value::Null, Into::into),
            Value::Boolean(boolean) => (*boolean).into(),
            Value::Array(items) => items.iter().map(Node::json).collect::<Vec<_>>().into(),
            Value::Table(table) => {
                table.iter().map(|(key, (_, node))| (key.clone(), node.json())).collect::<Map<_, _>>().into()
            }
        }
    }

    /// Where its value came from, if from variables.
    pub(super) fn note(&self) -> Option<String> {
        match (self.variables.as_slice(), &self.value) {
            ([], _) => None,
            (names, Value::Text(text)) => {
                let names: Vec<String> = names.iter().map(|name| format!("${{{name}}}")).collect();
                Some(format!("with {} replaced, the value is \"{text}\"", names.join(" and ")))
            }
            _ => None,
        }
    }
}

/// Reads a file; none if it is no TOML. What cannot be read becomes a problem.
pub(super) fn parse(
    file: usize,
    text: &str,
    lookup: Lookup<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Table> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.push(Problem::at(&Place { file, span }, error.message()));
    }
    errors.is_empty().then(|| Reader { file, lookup, problems }.table(table.get_ref()))
}

struct Reader<'a, 'b> {
    file: usize,
    lookup: Lookup<'a>,
    problems: &'b mut Vec<Problem>,
}

impl Reader<'_, '_> {
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut read = Table::new();
        for (key, value) in table {
            let place = Place { file: self.file, span: key.span() };
            read.insert(key.get_ref().to_string(), (place, self.node(value)));
        }
        read
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = Place { file: self.file, span: value.span() };
        let mut variables = Vec::new();
        let value = match value.get_ref() {
            DeValue::String(text) => match substitute(text, self.lookup) {
                Ok(done) => {
                    if done.text.contains('\0') {
                        self.problems
                            .push(Problem::at(&place, "PostgreSQL cannot store the character U+0000"));
                    }
                    variables = done.variables;
                    Value::Text(done.text)
                }
                Err((message, _)) => {
                    let remedy = "set it, or give a default: ${NAME:default}";
                    self.problems.push(Problem::at(&place, message).remedy(Some(remedy)));
                    Value::Text(text.to_string())
                }
            },
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Value::Integer(integer),
                Err(_) => {
                    self.problems.push(Problem::at(&place, "the number is too large"));
                    Value::Integer(0)
                }
            },
            // JSON has neither nan nor inf, and a null would be taken for a key that is left out.
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(float) if float.is_finite() => Value::Float(float),
                _ => {
                    self.problems.push(Problem::at(&place, "nan and inf are no numbers here"));
                    Value::Float(0.0)
                }
            },
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(datetime) => Value::Text(datetime.to_string()),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, variables, value }
    }
}

/// Lays a later file over an earlier one: tables are merged key by key, anything else is replaced.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, (place, node)) in over {
        match (base.get_mut(&key), node) {
            (Some((_, Node { value: Value::Table(below), .. })), Node { value: Value::Table(above), .. }) => {
                merge(below, above);
            }
            (_, node) => {
                base.insert(key, (place, node));
            }
        }
    }
}
