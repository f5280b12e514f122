//! The replica's local file: what this one machine knows and no row of the database may hold.
//!
//! Not `sexton.toml`: that says what is to be done, wherever; this says how this replica does it. What is easy to get
//! wrong: it is read again on SIGHUP, so a file that is wrong then must leave the old values in force; whoever calls
//! [`load`] again keeps them on an error.

pub(super) mod outside;
mod section;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    job::read,
    keys::{Key, Least, Takes, nearest},
    sources::{Problem, Problems, Sources},
    tree::{self, Node, Table, Value},
};
use crate::outside::Contents;

/// Settings of a replica, and what it knows of the outside. Of the settings, none given: the command line or the program's default decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// How many runs at once. From 1 to 1000.
    pub slots: Option<usize>,
    /// What the replica is called in `sexton.replicas`.
    pub name: Option<String>,
    /// The name of the database that it may work on (`meta.identity`); it refuses any other.
    pub database_identity: Option<String>,
    /// How long runs may take to reach a batch border at shutdown.
    pub drain_timeout: Option<Duration>,
    /// What to log, as `tracing`'s filters are written: `info`, `sexton=debug`.
    pub log: Option<String>,
    /// Secrets, hosts, storages, commands, mail.
    pub outside: Contents,
}

/// The keys of `[replica]`.
pub(super) const KEYS: &[Key] = &[
    Key { name: "slots", takes: Takes::Whole, default: "" },
    Key { name: "name", takes: Takes::Text, default: "" },
    Key { name: "database_identity", takes: Takes::Text, default: "" },
    Key { name: "drain_timeout", takes: Takes::Duration(Least::AboveZero), default: "" },
    Key { name: "log", takes: Takes::Text, default: "" },
];

/// Reads a local file, and the secrets that it points to. Variables are those of this process.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path) -> Result<Local, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = Problem::nowhere(format!("cannot read {}: {error}", path.display()));
        Problems::new(Arc::default(), vec![problem])
    })?;
    parse(path, &text, &|name| std::env::var(name).ok())
}

/// As [`load`], from a text that was read before, with variables from `lookup`.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(path: &Path, text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Local, Problems> {
    let (mut sources, mut problems) = (Sources::default(), Vec::new());
    let file = sources.add(path.to_owned(), text.to_owned());
    let whole = tree::parse(file, text, lookup, &mut problems).unwrap_or_default();
    let mut local = Local::default();
    for (key, (place, node)) in &whole {
        match &node.value {
            Value::Table(table) if key == "replica" => replica(table, &mut local, &mut problems),
            _ if outside::read(key, (place, node), lookup, &mut local.outside, &mut problems) => {}
            _ => {
                let names = outside::NAMED.iter().chain(outside::SINGLE).map(|(name, _)| *name);
                let names: Vec<&str> = ["replica"].into_iter().chain(names).collect();
                let known: Vec<String> = names.iter().map(|name| format!("[{name}]")).collect();
                let problem = Problem::at(place, format!("unknown key `{key}`"));
                problems.push(problem.suggest(nearest(key, names.iter().copied()), &known.join(", ")));
            }
        }
    }
    if problems.is_empty() { Ok(local) } else { Err(Problems::new(Arc::new(sources), problems)) }
}

fn replica(table: &Table, local: &mut Local, problems: &mut Vec<Problem>) {
    for (name, (place, node)) in table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            let problem = Problem::at(place, format!("replica: unknown key `{name}`"));
            problems.push(problem.suggest(nearest(name, names.iter().copied()), &names.join(", ")));
            continue;
        };
        if let Err(label) = set(local, key, node) {
            let problem = Problem::at(&node.place, format!("replica: {name} is wrong"));
            problems.push(problem.label(label).note(node.note()));
        }
    }
}

fn set(local: &mut Local, key: &Key, node: &Node) -> Result<(), String> {
    let value = read(key, node)?;
    let text = value.as_str().map(str::to_owned);
    match key.name {
        "slots" => {
            let slots = value.as_u64().filter(|slots| (1..=1000).contains(slots));
            let slots = slots.and_then(|slots| usize::try_from(slots).ok());
            local.slots = Some(slots.ok_or("takes a whole number from 1 to 1000")?);
        }
        "name" => local.name = text,
        "database_identity" => local.database_identity = text,
        "log" => local.log = text,
        _ => local.drain_timeout = Some(exact(text.as_deref().unwrap_or_default())?),
    }
    Ok(())
}

/// A duration of hours or less: days have no exact length.
fn exact(text: &str) -> Result<Duration, String> {
    let exact: jiff::SignedDuration =
        text.parse().map_err(|_| "takes hours, minutes or seconds".to_owned())?;
    Duration::try_from(exact).map_err(|error| error.to_string())
}
