//! Logging to standard error: text for people, or one JSON object a line for machines.
//!
//! It is not where events are named (that is [`events`](crate::events)), and it is set up by the program alone: an
//! embedding application has its own. What is easy to get wrong: logs go to standard error, since standard output is a
//! command's answer; and text that comes out of a job is never coloured in JSON, nor trusted on a terminal: control
//! characters are escaped.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::error::{Error, Result};

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

/// Starts logging. What is logged is up to `SEXTON_LOG`, else `RUST_LOG` (`debug`, `sexton=trace`), else `default`.
///
/// # Errors
/// If a variable cannot be read as such a filter, or something logs already.
pub fn start(format: Format, ansi: Ansi, default: &str) -> Result<()> {
    let registry = tracing_subscriber::registry().with(filter(default)?);
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
    started.map_err(|cause| Error::invalid("logging was started before").caused_by(cause))
}

fn filter(default: &str) -> Result<EnvFilter> {
    for variable in ["SEXTON_LOG", "RUST_LOG"] {
        match std::env::var(variable) {
            Ok(text) if !text.trim().is_empty() => {
                return EnvFilter::try_new(&text).map_err(|cause| {
                    Error::invalid(format!("\"{text}\" is no filter for the log"))
                        .about(format!("variable {variable}"))
                        .with_remedy(
                            "Write a level, such as `debug`, or targets with levels: `sexton=debug`.",
                        )
                        .caused_by(cause)
                });
            }
            _ => {}
        }
    }
    EnvFilter::try_new(default).map_err(|cause| Error::invalid("no filter for the log").caused_by(cause))
}
