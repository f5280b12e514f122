//! Logging to standard error: text for people, or one JSON object a line for machines.
//!
//! It is not where events are named (that is [`events`](crate::events)), and it is set up by the program alone: an
//! embedding application has its own. What is easy to get wrong: logs go to standard error, since standard output is a
//! command's answer; and text that comes out of a job is never coloured in JSON, nor trusted on a terminal: control
//! characters are escaped.

use tracing_subscriber::{EnvFilter, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::error::{Error, ErrorKind, Result};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Instant, level, event, fields.
    #[default]
    Text,
    /// One object a line: timestamp, level, fields, target.
    Json,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ansi {
    /// It is.
    Colored,
    /// It is not.
    Plain,
}

/// What is logged, for whoever may change it later.
#[derive(Clone, Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    asked: Asked,
}

/// Whether a person said for this process what is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By an option.
    Expressly,
    /// Not by an option; perhaps by a variable.
    No,
}

/// Starts logging. What is logged is up to `SEXTON_LOG`, else `RUST_LOG` (`debug`, `sexton=trace`), else `default`.
///
/// # Errors
/// If a variable cannot be read as such a filter, or something logs already.
pub fn start(format: Format, ansi: Ansi, default: &str, asked: Asked) -> Result<Log> {
    let given = VARIABLES.into_iter().find_map(|name| {
        let text = std::env::var(name).ok().filter(|text| !text.trim().is_empty())?;
        Some((name, text))
    });
    let first = match &given {
        Some((name, text)) => read(text).map_err(|error| error.about(format!("variable {name}")))?,
        None => read(default)?,
    };
    let asked = if given.is_some() { Asked::Expressly } else { asked };
    let (layer, filter) = reload::Layer::new(first);
    let registry = tracing_subscriber::registry().with(layer);
    let started = match format {
        Format::Text => {
            let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
            registry.with(layer.with_ansi(ansi == Ansi::Colored)).try_init()
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
            registry.with(layer.with_writer(std::io::stderr)).try_init()
        }
    };
    started.map_err(|cause| Error::invalid("logging was started before").caused_by(cause))?;
    Ok(Log { filter, asked })
}

impl Log {
    /// Logs by this filter from now on, unless a person said otherwise for this process.
    ///
    /// # Errors
    /// If it is no filter.
    pub fn prefer(&self, filter: &str) -> Result<()> {
        let filter = read(filter)?;
        if self.asked == Asked::Expressly {
            return Ok(());
        }
        self.filter.reload(filter).map_err(|cause| {
            Error::new(ErrorKind::Outside, "the log's filter does not change").caused_by(cause)
        })
    }
}

/// Where a filter may stand, the stronger first.
const VARIABLES: [&str; 2] = ["SEXTON_LOG", "RUST_LOG"];

/// The client library logs the values of parameters, which are the application's data: it must be asked for by name.
const CLIENT: &str = "tokio_postgres";

fn read(filter: &str) -> Result<EnvFilter> {
    let quiet = if filter.contains(CLIENT) { filter.to_owned() } else { format!("{filter},{CLIENT}=warn") };
    EnvFilter::try_new(quiet).map_err(|cause| {
        Error::invalid(format!("\"{filter}\" is no filter for the log"))
            .with_remedy("Write a level, such as `debug`, or targets with levels: `sexton=debug`.")
            .caused_by(cause)
    })
}
