//! What `apply --show` prints: the values in force, each with the place that it comes from.
//!
//! It is valid TOML, so that it can be saved as one file. What is easy to get wrong: defaults are shown too, since
//! what surprises people is what they did not write.

use std::fmt::Write;

use serde_json::Value as Json;

use super::{Config, job::Job, keys};

/// The effective values of all files together, each with `# file:line` or `# default`.
pub fn show(config: &Config) -> String {
    let mut out = Out::default();
    out.line(&format!("app = {}", quote(&config.app)), config.app_source());
    if let Some(generation) = config.generation {
        out.line(&format!("generation = {generation}"), config.generation_source());
    }
    for job in &config.jobs {
        out.blank(&format!("[jobs.{}]", key(&job.name)));
        for column in keys::COLUMNS {
            let value = job.columns.get(column.name).unwrap_or(&Json::Null);
            if !value.is_null() {
                out.line(&format!("{} = {}", column.name, toml(value)), config.source(job, column.name));
            }
        }
        out.line(&format!("armed = {}", job.armed), config.source(job, "armed"));
        out.blank(&format!("[jobs.{}.{}]", key(&job.name), job.kind));
        let params = job.columns.get("params").and_then(Json::as_object);
        for (name, value) in params.into_iter().flatten() {
            out.line(
                &format!("{} = {}", key(name), toml(value)),
                config.source(job, &format!("params.{name}")),
            );
        }
    }
    out.text
}

impl Config {
    /// The exact place of a value, none for a default.
    fn source(&self, job: &Job, path: &str) -> Option<String> {
        // A zone may come from the schedule's own text.
        let named = path == "time_zone" && job.columns.get(path).is_some_and(|zone| zone != "UTC");
        let spot = job.spots.get(path).or_else(|| job.spots.get("schedule").filter(|_| named))?;
        Some(self.sources.location(&spot.value).to_string())
    }

    fn app_source(&self) -> Option<String> {
        self.app_place.as_ref().map(|place| self.sources.location(place).to_string())
    }

    fn generation_source(&self) -> Option<String> {
        self.generation_place.as_ref().map(|place| self.sources.location(place).to_string())
    }
}

#[derive(Default)]
struct Out {
    text: String,
}

impl Out {
    fn line(&mut self, entry: &str, source: Option<String>) {
        let _ = writeln!(self.text, "{entry:<40} # {}", source.as_deref().unwrap_or("default"));
    }

    fn blank(&mut self, header: &str) {
        let _ = write!(self.text, "\n{header}\n");
    }
}

/// A key, quoted where it must be.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quote(name) }
}

/// A string as it can be read again: what looks like a variable is none any more.
fn quote(text: &str) -> String {
    toml::Value::String(text.replace("${", "$${")).to_string()
}

/// A value as TOML writes it inline.
fn toml(value: &Json) -> String {
    match value {
        Json::Object(object) => {
            let entries: Vec<String> =
                object.iter().map(|(name, value)| format!("{} = {}", key(name), toml(value))).collect();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        Json::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Json::String(text) => quote(text),
        other => other.to_string(),
    }
}
