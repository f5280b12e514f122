//! A kind's own table: turned into JSON, checked by the kind, and its errors brought back to the very value.
//!
//! What is easy to get wrong: the kind knows paths (`targets[2].by`), the file knows places; the map between them is
//! built before the check, key names apart from values, since an unknown field is an error about its name.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{
    job::{Job, Spot},
    keys::nearest,
    sources::Problem,
    tree::{Node, Value},
};
use crate::kind::{ParamError, Registered};

/// Remembers where everything below `node` stands.
pub(super) fn collect(spots: &mut BTreeMap<String, Spot>, path: &str, node: &Node) {
    match &node.value {
        Value::Table(table) => {
            for (key, (place, node)) in table {
                let path = format!("{path}.{key}");
                let spot = Spot { key: place.clone(), value: node.place.clone(), note: node.note() };
                spots.insert(path.clone(), spot);
                collect(spots, &path, node);
            }
        }
        Value::Array(items) => {
            for (index, node) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let spot = Spot { key: node.place.clone(), value: node.place.clone(), note: node.note() };
                spots.insert(path.clone(), spot);
                collect(spots, &path, node);
            }
        }
        _ => {}
    }
}

/// Has the kind check the params, and returns them.
///
/// The kind reports one error at a time; unknown names are all found here, so that they come at once.
pub(super) fn check(kind: &Registered, node: &Node, job: &Job, problems: &mut Vec<Problem>) -> Json {
    let mut params = node.json();
    let before = problems.len();
    if let Value::Table(table) = &node.value {
        let known: Vec<&str> = kind.describe().params.iter().map(|param| param.name).collect();
        for name in table.keys().filter(|name| !known.is_empty() && !known.contains(&name.as_str())) {
            problems.push(unknown(kind, job, name, &known));
        }
    }
    while let (true, Err(error)) = (problems.len() == before, kind.check(&params)) {
        if !reread(&mut params, &error, job) {
            problems.push(explain(kind, job, &error));
        }
    }
    params
}

fn unknown(kind: &Registered, job: &Job, name: &str, known: &[&str]) -> Problem {
    let message = format!("job {}: {} has no parameter `{name}`", job.name, kind.name());
    let place = job.spot(&format!("params.{name}")).map(|spot| &spot.key);
    let problem = place.map_or_else(|| Problem::nowhere(&message), |place| Problem::at(place, &message));
    problem.suggest(nearest(name, known.iter().copied()), &known.join(", "))
}

/// A value that came from variables is text; where the kind wants a number or true or false, it is read as one.
fn reread(params: &mut Json, error: &ParamError, job: &Job) -> bool {
    let spot = job.spots.get(&format!("params.{}", error.path));
    if spot.is_none_or(|spot| spot.note.is_none()) {
        return false;
    }
    let pointer = format!("/{}", error.path.replace(['.', '['], "/").replace(']', ""));
    let Some(value) = params.pointer_mut(&pointer) else { return false };
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text.trim()).ok());
    match parsed {
        Some(Json::Number(_) | Json::Bool(_)) => {
            *value = parsed.unwrap_or_default();
            true
        }
        _ => false,
    }
}

fn explain(kind: &Registered, job: &Job, error: &ParamError) -> Problem {
    let path = if error.path.is_empty() { "params".to_owned() } else { format!("params.{}", error.path) };
    let name = error.path.split(['.', '[']).next();
    let param = kind.describe().params.iter().find(|param| Some(param.name) == name);
    let remedy = param.map(|param| format!("{} takes {}: {}", param.name, param.takes, param.help));
    job.problem(&path, &error.message, remedy)
}

impl Job {
    /// A problem with what stands at `path`, shown there.
    pub(super) fn problem(&self, path: &str, message: &str, remedy: Option<String>) -> Problem {
        let title = format!("job {}: {path}: {message}", self.name);
        match self.spot(path) {
            Some(spot) => Problem::at(&spot.value, title).note(spot.note.clone()).remedy(remedy),
            None => Problem::nowhere(title).remedy(remedy),
        }
    }
}
