//! A table of the local file whose keys are a closed set: read key by key, each error at the very value.
//!
//! What is easy to get wrong: a key that is asked for and not declared in the section's `keys` would be refused before it
//! is read; a test of `docs/file.md` walks over the declared ones.

use std::time::Duration;

use super::super::{
    job,
    keys::{Key, Least, Takes, nearest},
    sources::{Place, Problem},
    tree::{Node, Table, Value},
};

/// A section while it is read.
pub(super) struct Section<'a> {
    /// `secrets.smtp`
    pub(super) name: String,
    header: &'a Place,
    table: &'a Table,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    /// Takes `[name]`; unknown keys in it become problems.
    pub(super) fn open(
        name: String,
        (header, node): (&'a Place, &'a Node),
        keys: &[&str],
        problems: &'a mut Vec<Problem>,
    ) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            let problem = Problem::at(&node.place, format!("{name} is wrong"));
            problems.push(problem.label(format!("takes a table: [{name}], not {}", node.value.what())));
            return None;
        };
        for (key, (place, _)) in table.iter().filter(|(key, _)| !keys.contains(&key.as_str())) {
            let problem = Problem::at(place, format!("{name}: unknown key `{key}`"));
            problems.push(problem.suggest(nearest(key, keys.iter().copied()), &keys.join(", ")));
        }
        Some(Section { name, header, table, problems })
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.get(key).map(|(_, node)| node)
    }

    /// Whether the file says something of this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says that the value of a key is wrong.
    pub(super) fn wrong(&mut self, key: &str, label: impl Into<String>) {
        let Some(node) = self.node(key) else { return };
        let problem = Problem::at(&node.place, format!("{}: {key} is wrong", self.name));
        self.problems.push(problem.label(label).note(node.note()));
    }

    /// Says that something is missing in the section.
    pub(super) fn missing(&mut self, label: impl Into<String>) {
        self.problems.push(Problem::at(self.header, format!("{} is incomplete", self.name)).label(label));
    }

    fn read(&mut self, key: &'static str, takes: Takes) -> Option<serde_json::Value> {
        let node = self.node(key)?;
        match job::read(&Key { name: key, takes, default: "" }, node) {
            Ok(value) => Some(value),
            Err(label) => {
                self.wrong(key, label);
                None
            }
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, Takes::Text)?.as_str().map(str::to_owned)
    }

    /// A text that `convert` takes; what it says of another is shown at the value.
    pub(super) fn text_as<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match convert(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(label) => {
                self.wrong(key, label);
                None
            }
        }
    }

    /// A truth value; false if the file does not say.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.read(key, Takes::Boolean).and_then(|value| value.as_bool()).unwrap_or(false)
    }

    /// A whole number above zero.
    pub(super) fn count(&mut self, key: &'static str) -> Option<u64> {
        let value = self.read(key, Takes::Whole)?.as_u64().filter(|value| *value > 0);
        if value.is_none() {
            self.wrong(key, "takes a whole number above zero");
        }
        value
    }

    /// A duration above zero, of hours or less: days have no exact length.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.read(key, Takes::Duration(Least::AboveZero))?;
        match super::exact(text.as_str().unwrap_or_default()) {
            Ok(duration) => Some(duration),
            Err(label) => {
                self.wrong(key, label);
                None
            }
        }
    }

    /// An array of texts, each as `convert` takes it; empty if the file does not say. Errors stand at the very item.
    pub(super) fn texts<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            self.wrong(key, format!("takes an array of strings, not {}", node.value.what()));
            return Vec::new();
        };
        let mut read = Vec::new();
        for item in items {
            let converted = match &item.value {
                Value::Text(text) => convert(text),
                other => Err(format!("takes a string, not {}", other.what())),
            };
            match converted {
                Ok(value) => read.push(value),
                Err(label) => {
                    let problem = Problem::at(&item.place, format!("{}: {key} is wrong", self.name));
                    self.problems.push(problem.label(label).note(item.note()));
                }
            }
        }
        read
    }

    /// The name in `secret:NAME`.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<String> {
        self.text_as(key, named_secret)
    }

    /// The entries of a table within the section; empty if the file does not say.
    pub(super) fn entries(&mut self, key: &'static str) -> Vec<(&'a String, &'a Node)> {
        match self.node(key).map(|node| &node.value) {
            None => Vec::new(),
            Some(Value::Table(table)) => table.iter().map(|(name, (_, node))| (name, node)).collect(),
            Some(other) => {
                self.wrong(key, format!("takes a table, not {}", other.what()));
                Vec::new()
            }
        }
    }
}

/// The name in `secret:NAME`.
pub(super) fn named_secret(text: &str) -> Result<String, String> {
    crate::outside::secrets::reference(text)
        .map(str::to_owned)
        .ok_or_else(|| "takes the name of a secret: \"secret:NAME\", with [secrets.NAME]".to_owned())
}
