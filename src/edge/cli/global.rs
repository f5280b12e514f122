//! What every command takes: the database, and how to answer and log.

use std::io::IsTerminal;

use clap::{ArgAction, Args, ColorChoice};

use super::Command;
use crate::{
    edge::{cluster::Cluster, conninfo::ConnInfo, telemetry},
    error::Result,
    protocol::{connect::Connector, operate::Operator},
};

/// Options of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// The database: a URL, `key=value` pairs or a name; the PG* variables fill in, as in psql. `embedded`, or
    /// `embedded:FOLDER`, starts a private PostgreSQL of one's own, for trying out
    #[arg(
        long,
        short = 'd',
        global = true,
        env = "DATABASE_URL",
        value_name = "DSN",
        hide_env_values = true
    )]
    database: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// How log lines on standard error look: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        hide_default_value = true
    )]
    log_format: telemetry::Format,
    /// Log more, -vv everything; SEXTON_LOG or RUST_LOG say it in detail
    #[arg(long, short, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log errors alone
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to color: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    color: ColorChoice,
}

/// Where `--database embedded` keeps its data if no folder is named.
const EMBEDDED_FOLDER: &str = "sexton-data";

impl Global {
    /// For `--database embedded`: starts the private cluster, says so, and means it from now on. It stops when what is
    /// returned is dropped; its data stay.
    pub(super) async fn embed(&mut self) -> Result<Option<Cluster>> {
        let folder = match self.database.as_deref() {
            Some("embedded") => EMBEDDED_FOLDER,
            Some(name) => match name.strip_prefix("embedded:") {
                Some(folder) => folder,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let cluster = Cluster::open_or_create(folder).await?;
        let place = cluster.conninfo("postgres");
        anstream::eprintln!(
            "A private PostgreSQL {}, for trying out, with its data in {folder}; it stops with this command.\n\
             Meanwhile, from another terminal: psql '{place}'",
            cluster.binaries().version
        );
        self.database = Some(place);
        Ok(Some(cluster))
    }

    /// Opens sessions to the database that was named.
    pub(super) fn connector(&self) -> Result<Connector> {
        Ok(ConnInfo::from_env_and(self.database.as_deref())?.connector())
    }

    /// A session to look and steer by.
    pub(super) async fn operator(&self) -> Result<Operator> {
        Operator::connect(&self.connector()?).await
    }

    pub(super) fn start_logging(&self, command: &Command) -> Result<telemetry::Log> {
        let choice = match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            // On a terminal a oneshot shows bars, and its answer says how it went.
            (false, 0) if command.is_oneshot() && std::io::stderr().is_terminal() => "warn",
            (false, 0) if command.is_replica() => "info",
            (false, 0) => "warn",
            (false, 1) => "sexton=debug,info",
            (false, _) => "sexton=trace,debug",
        };
        let asked =
            if self.quiet || self.verbose > 0 { telemetry::Asked::Expressly } else { telemetry::Asked::No };
        telemetry::start(self.log_format, self.ansi(), level, asked)
    }

    /// Whether what is written to standard error is coloured.
    pub(super) fn ansi(&self) -> telemetry::Ansi {
        let colored = match anstream::AutoStream::choice(&std::io::stderr()) {
            anstream::ColorChoice::Never => false,
            anstream::ColorChoice::Auto => std::io::stderr().is_terminal(),
            _ => true,
        };
        if colored { telemetry::Ansi::Colored } else { telemetry::Ansi::Plain }
    }
}
