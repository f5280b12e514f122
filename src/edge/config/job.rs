//! One `[jobs.NAME]` table read: its columns with their defaults, its one kind table, and where everything stands.
//!
//! What is easy to get wrong: the shape and the kind's own check can be told here, but whether the table exists and
//! whether the editor may delete from it, only the database knows; its errors come back to the places kept here.

use std::collections::BTreeMap;

use jiff::{
    Span,
    fmt::friendly::{Designator, Spacing, SpanPrinter},
};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    keys::{self, Key, Least, Takes, nearest},
    notices, params,
    sources::{Place, Problem, Sources},
    tree::{Node, Table, Value},
};
use crate::{
    kind::{Registry, inputs},
    protocol::schedule::{Missed, Schedule, ScheduleError, Seed},
};

/// A job as the files have it.
#[derive(Clone, Debug)]
pub struct Job {
    pub(super) name: String,
    pub(super) kind: String,
    /// Every column of the definition, defaults included.
    pub(super) columns: Map<String, Json>,
    pub(super) armed: bool,
    pub(super) at_deploy: bool,
    pub(super) spots: BTreeMap<String, Spot>,
}

/// Where something stands.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) key: Place,
    pub(super) value: Place,
    pub(super) note: Option<String>,
}

impl Job {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The columns of `sexton.job` that make its definition, by name, with the defaults of what the files leave out.
    pub fn columns(&self) -> &Map<String, Json> {
        &self.columns
    }

    /// Whether the files ask to arm it.
    pub fn is_armed(&self) -> bool {
        self.armed
    }

    /// Whether it is due after a deploy.
    pub fn runs_at_deploy(&self) -> bool {
        self.at_deploy
    }

    fn text(&self, column: &str) -> Option<String> {
        self.columns.get(column).and_then(Json::as_str).map(str::to_owned)
    }

    /// The spot of `path` (`timeout`, `params.targets[2].by`), or of the nearest thing around it.
    pub(super) fn spot(&self, path: &str) -> Option<&Spot> {
        let mut path = path;
        loop {
            if let Some(spot) = self.spots.get(path) {
                return Some(spot);
            }
            path = path.rfind(['.', '[']).map_or("", |at| &path[..at]);
        }
    }
}

/// Reads the jobs of one configuration.
pub(super) struct Reader<'a> {
    pub(super) app: &'a str,
    pub(super) sources: &'a Sources,
    pub(super) registry: &'a Registry,
    pub(super) defaults: &'a Table,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn job(&mut self, name: &str, header: &Place, table: &Table) -> Option<Job> {
        if !is_name(name) {
            let problem = Problem::at(header, format!("\"{name}\" is no name for a job"));
            self.problems
                .push(problem.label("letters, digits and . _ ~ -, at most 100, first a letter or digit"));
        }
        let header = Spot { key: header.clone(), value: header.clone(), note: None };
        let mut job = Job {
            name: name.to_owned(),
            kind: String::new(),
            columns: Map::new(),
            armed: false,
            at_deploy: false,
            spots: BTreeMap::from([(String::new(), header)]),
        };
        job.columns.insert("name".to_owned(), name.into());
        job.columns.insert("app".to_owned(), self.app.into());
        for key in keys::COLUMNS {
            let value = self.column(&mut job, key, table);
            job.columns.insert(key.name.to_owned(), value);
        }
        if let Some((place, node)) = table.get(keys::ARMED.name) {
            let spot = Spot { key: place.clone(), value: node.place.clone(), note: node.note() };
            job.spots.insert(keys::ARMED.name.to_owned(), spot);
            job.armed = self.value(name, &keys::ARMED, node) == Json::Bool(true);
        }
        self.schedule(&mut job, table);
        self.kind(&mut job, table)?;
        Some(job)
    }

    /// The value of a column: the job's own, that of `[defaults]`, or the column's default.
    fn column(&mut self, job: &mut Job, key: &Key, table: &Table) -> Json {
        match table.get(key.name).or_else(|| self.defaults.get(key.name)) {
            Some((place, node)) => {
                let spot = Spot { key: place.clone(), value: node.place.clone(), note: node.note() };
                job.spots.insert(key.name.to_owned(), spot);
                self.value(&job.name, key, node)
            }
            None => serde_json::from_str(key.default).unwrap_or(Json::Null),
        }
    }

    fn value(&mut self, job: &str, key: &Key, node: &Node) -> Json {
        if let (Takes::Notices, Value::Array(items)) = (key.takes, &node.value) {
            return notices::read(job, items, self.problems);
        }
        match read(key, node) {
            Ok(value) => value,
            Err(label) => {
                let message = format!("job {job}: {} is wrong", key.name);
                self.problems.push(Problem::at(&node.place, message).label(label).note(node.note()));
                Json::Null
            }
        }
    }

    /// Checks schedule, zone and missed-run policy, and stores the canonical form: the zone in one place alone.
    fn schedule(&mut self, job: &mut Job, table: &Table) {
        let seed = Seed::new(Uuid::nil(), &job.name);
        if let Some(written) = job.text("schedule") {
            let zone = job.spots.contains_key("time_zone").then(|| job.text("time_zone")).flatten();
            let mut read = Schedule::parse(&written, zone.as_deref(), &seed);
            if read.is_err() && !table.contains_key("time_zone") {
                // A zone in the schedule's own text goes before that of [defaults].
                read = Schedule::parse(&written, None, &seed).or(read);
            }
            match read {
                Ok(schedule) => {
                    job.at_deploy = schedule.runs_at_deploy();
                    job.columns.insert("schedule".to_owned(), schedule.text().into());
                    job.columns.insert("time_zone".to_owned(), schedule.time_zone().into());
                }
                Err(error) => self.schedule_problem(job, "schedule", &error),
            }
        }
        if let Some(Err(error)) = job.text("missed").map(|missed| missed.parse::<Missed>()) {
            self.schedule_problem(job, "missed", &error);
        }
    }

    fn schedule_problem(&mut self, job: &Job, column: &str, error: &ScheduleError) {
        let column = if column == "schedule" && error.place().is_none() { "time_zone" } else { column };
        let Some(spot) = job.spot(column) else { return };
        let mut place = spot.value.clone();
        // Within a plain string the very piece can be shown.
        let quoted = self.sources.slice(&place);
        let plain = quoted.len() >= 2
            && !quoted.contains('\\')
            && !quoted.starts_with("\"\"\"")
            && spot.note.is_none();
        if let (true, Some(piece)) = (plain, error.place().filter(|piece| !piece.is_empty())) {
            let start = place.span.start + 1;
            place.span = start + piece.start..start + piece.end;
        }
        let problem = Problem::at(&place, format!("job {}: {column}: {}", job.name, error.message()));
        self.problems.push(problem.note(spot.note.clone()).remedy(error.remedy()));
    }

    /// Finds the one kind table and has the kind check it; anything else that is not a key is unknown.
    fn kind(&mut self, job: &mut Job, table: &Table) -> Option<()> {
        let mut found: Option<(&str, &Place, &Node)> = None;
        let mut odd = 0;
        for (key, (place, node)) in table.iter().filter(|(key, _)| keys::find(key).is_none()) {
            match (&node.value, self.registry.get(key), found) {
                (Value::Table(_), Some(_), None) => found = Some((key, place, node)),
                (Value::Table(_), Some(_), Some((first, ..))) => {
                    odd += 1;
                    let message = format!("job {} has two kinds: {first} and {key}", job.name);
                    self.problems
                        .push(Problem::at(place, message).label("one job does one thing: make it two jobs"));
                }
                _ => {
                    odd += 1;
                    self.unknown(&job.name, key, place, node, table);
                }
            }
        }
        if found.is_none() && odd == 0 {
            let kinds: Vec<String> =
                self.registry.iter().map(|kind| format!("[jobs.{}.{}]", job.name, kind.name())).collect();
            let header = &job.spots[""].key;
            let problem = Problem::at(header, format!("job {} does not say what to do", job.name));
            self.problems
                .push(problem.label("no kind").remedy(Some(format!("add one of: {}", kinds.join(", ")))));
        }
        let (kind, place, node) = found?;
        job.kind = kind.to_owned();
        job.columns.insert("kind".to_owned(), kind.into());
        let spot = Spot { key: place.clone(), value: place.clone(), note: None };
        job.spots.insert("kind".to_owned(), spot.clone());
        job.spots.insert("params".to_owned(), spot);
        params::collect(&mut job.spots, "params", node);
        let registered = self.registry.get(kind)?;
        let params = params::check(registered, node, job, self.problems);
        if let (Some(_), Err(reason)) = (job.text("database"), registered.elsewhere(&params)) {
            self.problems.push(job.problem("database", &reason, Some("leave it out".to_owned())));
        }
        job.columns.insert("params".to_owned(), params);
        Some(())
    }

    fn unknown(&mut self, job: &str, key: &str, place: &Place, node: &Node, table: &Table) {
        let kinds: Vec<&str> = self.registry.iter().map(|kind| kind.name()).collect();
        let owner = table
            .keys()
            .filter_map(|key| self.registry.get(key))
            .find(|kind| kind.describe().params.iter().any(|param| param.name == key));
        let near = match &node.value {
            Value::Table(_) => nearest(key, kinds.iter().copied().chain(["inputs"])),
            _ => nearest(key, keys::names()),
        };
        let (what, known) = match &node.value {
            Value::Table(_) => ("kind", kinds.join(", ")),
            _ => ("key", keys::names().collect::<Vec<_>>().join(", ")),
        };
        let problem = Problem::at(place, format!("job {job}: unknown {what} `{key}`"));
        self.problems.push(match (owner, near) {
            (Some(kind), _) => problem.label(format!("it belongs into [jobs.{job}.{}]", kind.name())),
            (None, near) => problem.suggest(near, &known),
        });
    }
}

/// Reads a key's value, as the column wants it.
///
/// # Errors
/// What it takes instead.
pub(super) fn read(key: &Key, node: &Node) -> Result<Json, String> {
    let from_variable = !node.variables.is_empty();
    match (key.takes, &node.value) {
        (Takes::Text, Value::Text(text)) if text.trim().is_empty() => {
            Err(format!("{} must not be empty", key.name))
        }
        (Takes::Text, Value::Text(_)) => Ok(node.json()),
        (Takes::Whole, Value::Integer(whole)) if i32::try_from(*whole).is_err() => {
            Err("is too large".to_owned())
        }
        (Takes::Whole, Value::Integer(whole)) => Ok((*whole).into()),
        (Takes::Whole, Value::Text(text)) if from_variable && text.trim().parse::<i32>().is_ok() => {
            Ok(text.trim().parse::<i32>().map_or(Json::Null, Json::from))
        }
        (Takes::Boolean, Value::Boolean(boolean)) => Ok((*boolean).into()),
        (Takes::Boolean, Value::Text(text)) if from_variable && text.trim().parse::<bool>().is_ok() => {
            Ok((text.trim() == "true").into())
        }
        (Takes::Duration(least), Value::Integer(seconds)) => duration(&format!("{seconds} seconds"), least),
        (Takes::Duration(least), Value::Text(text)) => match text.trim().parse::<i64>() {
            Ok(seconds) => duration(&format!("{seconds} seconds"), least),
            Err(_) => duration(text, least),
        },
        (Takes::Inputs, Value::Table(table))
            if table.values().all(|(_, node)| matches!(node.value, Value::Text(_))) =>
        {
            let texts = table.iter().filter_map(|(name, (_, node))| match &node.value {
                Value::Text(declared) => Some((name, declared)),
                _ => None,
            });
            for (name, declared) in texts {
                inputs::declaration(name, declared)?;
            }
            Ok(node.json())
        }
        (Takes::Resources, Value::Array(items)) => {
            items.iter().map(resource).collect::<Result<_, _>>().map(Json::Array)
        }
        (takes, value) => Err(format!("takes {}, not {}", describe(takes), value.what())),
    }
}

fn describe(takes: Takes) -> &'static str {
    match takes {
        Takes::Text => "a string",
        Takes::Duration(_) => "a duration such as \"6 hours\", or a whole number of seconds",
        Takes::Whole => "a whole number",
        Takes::Boolean => "true or false",
        Takes::Resources => "a list such as [\"app:42\", { name = \"backup\", shared = true }]",
        Takes::Inputs => "a table of names and types, such as { tenant = \"bigint\" }",
        Takes::Notices => {
            "an array of tables, such as [{ to = \"mail:ops@example.org\", on = [\"failed\"] }]"
        }
    }
}

/// A resource in the form that the table keeps: a name, or an object if it is shared.
fn resource(node: &Node) -> Result<Json, String> {
    const SHAPE: &str = "a resource is a name, or a table { name = \"backup\", shared = true }";
    match &node.value {
        Value::Text(name) if !name.trim().is_empty() => Ok(node.json()),
        Value::Table(table) => {
            let odd = table.keys().find(|key| !["name", "shared"].contains(&key.as_str()));
            let name = table.get("name").map(|(_, node)| &node.value);
            let shared = table.get("shared").map(|(_, node)| &node.value);
            match (odd, name, shared) {
                (None, Some(Value::Text(name)), None | Some(Value::Boolean(false))) => {
                    Ok(name.as_str().into())
                }
                (None, Some(Value::Text(name)), Some(Value::Boolean(true))) => {
                    Ok(serde_json::json!({ "name": name, "shared": true }))
                }
                (Some(odd), ..) => Err(format!("unknown key `{odd}`: {SHAPE}")),
                _ => Err(SHAPE.to_owned()),
            }
        }
        _ => Err(SHAPE.to_owned()),
    }
}

/// Checks a duration and writes it as the database reads it.
fn duration(text: &str, least: Least) -> Result<Json, String> {
    if text.trim().is_empty() {
        return Err("is empty; write a duration such as \"6 hours\"".to_owned());
    }
    let span: Span = text
        .trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is no duration; write one such as \"6 hours\" or \"30 days\""))?;
    if span.is_negative() {
        return Err("must not be negative".to_owned());
    }
    if span.is_zero() && least == Least::AboveZero {
        return Err("must not be zero".to_owned());
    }
    let printer =
        SpanPrinter::new().designator(Designator::Verbose).spacing(Spacing::BetweenUnitsAndDesignators);
    Ok(printer.span_to_string(&span).into())
}

/// What a job or an application may be called.
pub(super) fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && name.len() <= 100 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c))
}
