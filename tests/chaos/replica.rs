//! The replica mode of this binary: a runner as an application would embed it, with the kind `steps` and the built-ins.
//!
//! It is a process of its own, so that it can be killed, frozen and cut off like any other.

use std::{path::PathBuf, time::Duration};

use sexton::{
    Registry,
    edge::{config::local, notice::Channels},
    kinds::command::Commands,
    outside::Outside,
    protocol::session::Lease,
    runner::Runner,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Config;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::{steps::Steps, world::Result};

/// What the suite tells a replica, by these variables.
pub const CONNINFO: &str = "CHAOS_CONNINFO";
pub const DIARY: &str = "CHAOS_DIARY";
pub const LEASE_MS: &str = "CHAOS_LEASE_MS";
pub const SLOTS: &str = "CHAOS_SLOTS";
pub const NAME: &str = "CHAOS_NAME";
/// `1`: the replica does not know the kind `steps`, as an older one would not.
pub const OLD: &str = "CHAOS_OLD";

/// The local file.
pub const OUTSIDE: &str = "CHAOS_OUTSIDE";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Runs until it is told to end.
pub async fn run() -> Result<()> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = filter.parse_lossy(variable("SEXTON_LOG").unwrap_or_default());
    // As `sexton run --log-format json` writes it.
    let log = tracing_subscriber::fmt().json().flatten_event(true);
    log.with_env_filter(filter).with_writer(std::io::stderr).init();
    let database: Config = variable(CONNINFO).ok_or("no database is named")?.parse()?;
    let outside = match variable(OUTSIDE) {
        Some(file) => Outside::new(local::load(file.as_ref()).map_err(|error| error.to_string())?.outside),
        None => Outside::default(),
    };
    let mut registry = Registry::with_builtins_and(&outside);
    registry.add(Commands::new(outside.clone()).with_helper(env!("CARGO_BIN_EXE_sexton")));
    let mut builder = Runner::builder(database).registry(registry).deliver(Channels::new(&outside));
    if variable(OLD).is_none() {
        builder = builder.kind(Steps::new(variable(DIARY).map(PathBuf::from)));
    }
    if let Some(milliseconds) = variable(LEASE_MS) {
        builder = builder.lease(Lease { idle: Duration::from_millis(milliseconds.parse()?) });
    }
    if let Some(slots) = variable(SLOTS) {
        builder = builder.slots(slots.parse()?);
    }
    let runner = builder.name(variable(NAME).unwrap_or_default()).build();
    let shutdown = runner.shutdown();
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        shutdown.drain();
        terminate.recv().await;
        shutdown.at_once();
    });
    Ok(runner.run().await?)
}
