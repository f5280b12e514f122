//! `sexton run`: a replica as a process, and what signals mean to it.
//!
//! The first SIGTERM or SIGINT drains: nothing new, runs come to a batch border and are given back. The second ends at
//! once. SIGHUP rereads the local file. What is easy to get wrong: a replica never migrates and never applies; a
//! deployment does that, once.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, Exit, format};
use crate::{
    error::{Error, ErrorKind, Result},
    runner::{Runner, RunnerBuilder, SLOTS, Shutdown},
};

/// What `run` takes.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How many jobs run at a time, each with a session of its own [default: 4]
    #[arg(long, value_name = "COUNT", env = "SEXTON_SLOTS")]
    slots: Option<u16>,
    /// What people see as the holder of a job [default: host name and process id]
    #[arg(long, value_name = "NAME", env = "SEXTON_NAME")]
    name: Option<String>,
    /// What this replica knows locally; reread on SIGHUP
    #[arg(long, value_name = "FILE", env = "SEXTON_CONFIG")]
    config: Option<PathBuf>,
    /// Refuse to work unless sexton.meta.identity says this: guards against the wrong database
    #[arg(long, value_name = "NAME", env = "SEXTON_IDENTITY")]
    identity: Option<String>,
    /// How long runs may take to come to a batch border on shutdown
    #[arg(long, value_name = "TIME", value_parser = format::read_span, default_value = "20s")]
    drain_timeout: Duration,
}

pub(super) async fn run(context: &Context, args: &RunArgs) -> Result<Exit> {
    let builder = Runner::builder(context.global.connector()?)
        .registry(context.registry.clone())
        .slots(args.slots.unwrap_or(SLOTS))
        .name(args.name.clone().unwrap_or_else(own_name))
        .drain_timeout(args.drain_timeout);
    let runner = identified(builder, args.identity.as_deref()).build();
    let signals = Signals::new()?;
    let obeying = tokio::spawn(signals.obey(runner.shutdown()));
    let ended = runner.run().await;
    obeying.abort();
    ended.map(|()| Exit::Done)
}

fn identified(builder: RunnerBuilder, identity: Option<&str>) -> RunnerBuilder {
    match identity {
        Some(identity) => builder.database_identity(identity),
        None => builder,
    }
}

/// Host name and process id.
pub(super) fn own_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{}/{}", host.as_deref().unwrap_or("localhost"), std::process::id())
}

/// The signals that a replica listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let listen = |kind| {
            signal(kind)
                .map_err(|cause| Error::new(ErrorKind::Outside, "cannot listen to signals").caused_by(cause))
        };
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Drains at the first signal to end, and ends at once at the second.
    pub(super) async fn obey(mut self, shutdown: Shutdown) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    continue;
                }
            };
            if shutdown.is_asked() {
                shutdown.at_once();
                continue;
            }
            tracing::info!(signal = name, "replica.draining");
            shutdown.drain();
        }
    }
}
