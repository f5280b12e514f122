//! `sexton.toml`: what an application wants maintained, read, merged, checked, and shown with its sources.
//!
//! It touches no database: what only that can tell is `edge::apply`'s part, which brings errors back to the places kept
//! here. What is easy to get wrong: all errors of the files are reported, not only the first, so nothing here returns
//! early; a value that is wrong is left out and reading goes on.
//!
//! ```
//! use sexton::{edge::config, kind::Registry};
//!
//! let text = "[jobs.audit-logs]\nschedul = \"daily 03:00\"\n";
//! let problems = config::parse(&[("sexton.toml".into(), text.into())], &Registry::new(), &|_| None).unwrap_err();
//! assert!(problems.to_string().contains("did you mean `schedule`?"));
//! ```

mod job;
mod keys;
pub mod local;
mod notices;
mod params;
mod show;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod variables;

use std::{io::Read, path::PathBuf, sync::Arc};

pub use self::{
    job::Job,
    show::show,
    sources::{Colors, Location, Problem, Problems},
};
use self::{
    job::Reader,
    keys::nearest,
    sources::{Place, Sources},
    tree::{Table, Value},
};
use crate::kind::Registry;

/// What the files say together.
#[derive(Clone, Debug)]
pub struct Config {
    app: String,
    app_place: Option<Place>,
    generation: Option<i64>,
    generation_place: Option<Place>,
    jobs: Vec<Job>,
    sources: Arc<Sources>,
}

impl Config {
    /// Whose jobs these are; `default` if the files do not say.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The number that later states of these files have a higher one of, if they are numbered.
    pub fn generation(&self) -> Option<i64> {
        self.generation
    }

    /// The jobs, by name.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// The problem that something found with what stands at `path` of a job, and where that is.
    pub(crate) fn problem(&self, job: &str, path: &str, message: &str, remedy: Option<String>) -> Problem {
        match self.jobs.iter().find(|known| known.name == job) {
            Some(known) if path.is_empty() => {
                let place = &known.spots[""].key;
                Problem::at(place, format!("job {job}: {message}")).remedy(remedy)
            }
            Some(known) => known.problem(path, message, remedy),
            None => Problem::nowhere(format!("job {job}: {message}")).remedy(remedy),
        }
    }

    /// Whether the files say something at `path` of a job.
    pub(crate) fn says(&self, job: &str, path: &str) -> bool {
        self.jobs.iter().any(|known| known.name == job && known.spots.contains_key(path))
    }

    /// Problems of these files.
    pub(crate) fn problems(&self, all: Vec<Problem>) -> Problems {
        Problems::new(Arc::clone(&self.sources), all)
    }
}

/// Reads files, lays later ones over earlier ones, and checks the whole. `-` is standard input. Variables are those of
/// this process.
///
/// # Errors
/// All that is wrong with them.
pub fn load(files: &[PathBuf], registry: &Registry) -> Result<Config, Problems> {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for path in files {
        match read(path) {
            Ok(text) => texts.push((path.clone(), text)),
            Err(error) => {
                let problem = Problem::nowhere(format!("cannot read {}: {error}", path.display()));
                let remedy = "name the file with -f; `sexton init -o sexton.toml` proposes one";
                problems.push(problem.remedy(Some(remedy)));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Problems::new(Arc::default(), problems));
    }
    parse(&texts, registry, &|name| std::env::var(name).ok())
}

fn read(path: &PathBuf) -> std::io::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// As [`load`], from texts that were read before, with variables from `lookup`.
///
/// # Errors
/// All that is wrong with them.
pub fn parse(
    texts: &[(PathBuf, String)],
    registry: &Registry,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let (mut sources, mut problems, mut whole) = (Sources::default(), Vec::new(), Some(Table::new()));
    for (path, text) in texts {
        let file = sources.add(path.clone(), text.clone());
        let table = tree::parse(file, text, lookup, &mut problems);
        whole = whole.zip(table).map(|(mut below, above)| {
            tree::merge(&mut below, above);
            below
        });
    }
    // Of files that are no TOML nothing more can be said.
    let config = whole.map(|whole| interpret(&whole, &sources, registry, &mut problems));
    let sources = Arc::new(sources);
    match config {
        Some(config) if problems.is_empty() => Ok(Config { sources, ..config }),
        _ => Err(Problems::new(sources, problems)),
    }
}

fn interpret(whole: &Table, sources: &Sources, registry: &Registry, problems: &mut Vec<Problem>) -> Config {
    let mut config = Config {
        app: "default".to_owned(),
        app_place: None,
        generation: None,
        generation_place: None,
        jobs: Vec::new(),
        sources: Arc::default(),
    };
    let empty = Table::new();
    let (mut defaults, mut jobs) = (&empty, &empty);
    for (key, (place, node)) in whole {
        let wrong =
            |label: &str| Problem::at(&node.place, format!("{key} is wrong")).label(label).note(node.note());
        match (key.as_str(), &node.value) {
            ("app", Value::Text(app)) if job::is_name(app) => {
                (config.app, config.app_place) = (app.clone(), Some(node.place.clone()));
            }
            ("app", _) => problems.push(wrong("takes a name: letters, digits and . _ ~ -, at most 100")),
            ("generation", value) => match whole_number(value) {
                Some(generation) if generation >= 0 => {
                    (config.generation, config.generation_place) =
                        (Some(generation), Some(node.place.clone()));
                }
                _ => problems.push(wrong("takes a whole number, not below 0")),
            },
            ("defaults", Value::Table(table)) => defaults = table,
            ("jobs", Value::Table(table)) => jobs = table,
            ("defaults" | "jobs", _) => problems.push(wrong("takes a table")),
            _ => problems.push(unknown_top(key, place)),
        }
    }
    check_defaults(defaults, problems);
    if !whole.contains_key("jobs") {
        let problem = Problem::nowhere("the files name no jobs");
        problems.push(
            problem.remedy(Some("write [jobs.NAME] for each, or an empty [jobs] if there shall be none")),
        );
    }
    let mut reader = Reader { app: &config.app, sources, registry, defaults, problems };
    let mut read = Vec::new();
    for (name, (place, node)) in jobs {
        match &node.value {
            Value::Table(table) => read.extend(reader.job(name, place, table)),
            other => reader.problems.push(
                Problem::at(&node.place, format!("jobs.{name} is {}", other.what()))
                    .label("takes a table: [jobs.NAME]"),
            ),
        }
    }
    config.jobs = read;
    config
}

fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        // From a variable.
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn unknown_top(key: &str, place: &Place) -> Problem {
    let problem = Problem::at(place, format!("unknown key `{key}`"));
    match nearest(key, keys::TOP.iter().copied()) {
        None if key == "replica" => {
            problem.label("it belongs into the replica's local file: `sexton run --config`")
        }
        None if keys::find(key).is_some() => problem.label("it belongs into [jobs.NAME], or into [defaults]"),
        near => problem.suggest(near, &keys::TOP.join(", ")),
    }
}

fn check_defaults(defaults: &Table, problems: &mut Vec<Problem>) {
    let allowed: Vec<&str> = keys::names().filter(|name| !keys::NOT_IN_DEFAULTS.contains(name)).collect();
    for (key, (place, _)) in defaults.iter().filter(|(key, _)| !allowed.contains(&key.as_str())) {
        let problem = Problem::at(place, format!("defaults: unknown key `{key}`"));
        problems.push(match keys::find(key) {
            Some(_) => problem.label("each job says this for itself"),
            None => problem.suggest(nearest(key, allowed.iter().copied()), &allowed.join(", ")),
        });
    }
}
