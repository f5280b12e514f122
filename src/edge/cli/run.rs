//! `sexton run`: a replica as a process, and what signals mean to it.
//!
//! The first SIGTERM or SIGINT drains: nothing new, runs come to a batch border and are given back. The second ends at
//! once. SIGHUP rereads the local file: what is logged, and what jobs may name (secrets, hosts, storages, commands),
//! change at once, the rest with the next start. What is easy to get wrong: a replica never migrates and never applies; a
//! deployment does that, once.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, Exit, file, format};
use crate::{
    edge::{
        config::{
            Colors,
            local::{self, Local},
        },
        telemetry,
    },
    error::{Error, ErrorKind, Result},
    outside::{Contents, Outside},
    runner::{DRAIN_TIMEOUT, Runner, RunnerBuilder, SLOTS, Shutdown},
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
    /// How long runs may take to come to a batch border on shutdown [default: 20s]
    #[arg(long, value_name = "TIME", value_parser = format::read_span)]
    drain_timeout: Option<Duration>,
}

pub(super) async fn run(context: &Context, args: &RunArgs) -> Result<Exit> {
    let local = match args.config.as_deref().map(local::load).transpose() {
        Ok(local) => local.unwrap_or_default(),
        Err(problems) => return Ok(file::tell(context, &problems)),
    };
    if let Some(filter) = &local.log {
        context.log.prefer(filter)?;
    }
    context.outside.replace(local.outside.clone());
    let runner = configured(context, args, &local)?.build();
    let reload = args.config.clone().map(|file| Reload {
        file,
        log: context.log.clone(),
        outside: context.outside.clone(),
        before: local,
    });
    let obeying = tokio::spawn(Signals::new()?.obey(runner.shutdown(), reload));
    let ended = runner.run().await;
    obeying.abort();
    ended.map(|()| Exit::Done)
}

/// What was typed beats the local file, and that the defaults.
fn configured(context: &Context, args: &RunArgs, local: &Local) -> Result<RunnerBuilder> {
    let slots = args.slots.or_else(|| local.slots.and_then(|slots| u16::try_from(slots).ok()));
    let builder = Runner::builder(context.global.connector()?)
        .registry(context.registry.clone())
        .slots(slots.unwrap_or(SLOTS))
        .name(args.name.clone().or_else(|| local.name.clone()).unwrap_or_else(own_name))
        .drain_timeout(args.drain_timeout.or(local.drain_timeout).unwrap_or(DRAIN_TIMEOUT));
    Ok(match args.identity.as_ref().or(local.database_identity.as_ref()) {
        Some(identity) => builder.database_identity(identity),
        None => builder,
    })
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

    /// Drains at the first signal to end, and ends at once at the second; rereads what there is to reread.
    pub(super) async fn obey(mut self, shutdown: Shutdown, mut reload: Option<Reload>) {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    if let Some(reload) = &mut reload {
                        reload.again();
                    }
                    continue;
                }
            };
            if shutdown.is_asked() {
                shutdown.at_once();
            } else {
                tracing::info!(signal, "replica.draining");
                shutdown.drain();
            }
        }
    }
}

/// The local file, to be read again.
pub(super) struct Reload {
    file: PathBuf,
    log: telemetry::Log,
    outside: Outside,
    before: Local,
}

impl Reload {
    /// What can change while the replica runs does; a file with a mistake changes nothing.
    fn again(&mut self) {
        let file = self.file.display();
        let local = match local::load(&self.file) {
            Ok(local) => local,
            Err(problems) => {
                let problems = problems.render(Colors::Plain);
                tracing::error!(%file, problems, "replica.reload_failed");
                return;
            }
        };
        if let Some(Err(error)) = local.log.as_deref().map(|filter| self.log.prefer(filter)) {
            tracing::error!(%file, problems = %error, "replica.reload_failed");
            return;
        }
        let fixed = |local: &Local| Local { log: None, outside: Contents::default(), ..local.clone() };
        let restart_needed = fixed(&local) != fixed(&self.before);
        self.outside.replace(local.outside);
        tracing::info!(%file, restart_needed, "replica.reloaded");
        self.before.log = local.log;
    }
}
