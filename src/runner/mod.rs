//! One replica: it looks for due and orphaned jobs, competes for them, and runs those that it wins.
//!
//! The same runner serves the binary and an application that embeds it. It migrates nothing, applies nothing and
//! handles no signals by itself. Six pieces: `plan` decides purely, `drive` carries plans out, `execute` is one run, `busy`
//! is what is under way, `deliver` sends notices, `hooks` is what the application hears.
//!
//! ```no_run
//! use sexton::{Registry, runner::Runner};
//!
//! # async fn example() -> sexton::Result<()> {
//! let database: tokio_postgres::Config = "host=localhost dbname=shop user=shop".parse()?;
//! let runner = Runner::builder(database).registry(Registry::with_builtins()).slots(2).build();
//! let shutdown = runner.shutdown();
//! tokio::spawn(async move {
//!     // … when the application ends:
//!     shutdown.drain();
//! });
//! runner.run().await
//! # }
//! ```

pub(crate) mod busy;
pub mod deliver;
pub(crate) mod drive;
pub(crate) mod execute;
pub mod hooks;
pub(crate) mod plan;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    error::Result,
    kind::{Kind, Registry},
    protocol::{
        claim::Claimant,
        connect::Connector,
        control::{Installation, Registration},
        session::Lease,
    },
};
use deliver::Deliver;
use hooks::RunEvent;

/// How many jobs a replica runs at a time, if nothing else is said.
pub const SLOTS: u16 = 4;
/// How long a replica that shuts down waits for its runs to come to a batch border.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

type Hook = Arc<dyn Fn(&RunEvent<'_>) + Send + Sync>;

/// Ends a replica, from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    at_once: CancellationToken,
}

impl Shutdown {
    /// Takes nothing new, brings the runs to a batch border, gives them back unfinished (no attempt is used up, and
    /// another replica goes on at the cursor), and ends.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Does not wait for a batch border: statements in flight are cancelled.
    pub fn at_once(&self) {
        self.drain.cancel();
        self.at_once.cancel();
    }

    /// Whether either was asked for.
    pub fn is_asked(&self) -> bool {
        self.drain.is_cancelled()
    }
}

/// Puts a [`Runner`] together.
#[must_use]
pub struct RunnerBuilder {
    connector: Connector,
    registry: Registry,
    registration: Registration,
    lease: Lease,
    drain_timeout: Duration,
    hook: Option<Hook>,
    deliver: Option<Arc<dyn Deliver>>,
    only: Option<BTreeSet<String>>,
    now: Option<Timestamp>,
    kill_after_batches: Option<u64>,
}

impl RunnerBuilder {
    /// The kinds that this replica knows, in place of those given before. Default: none.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds a kind.
    pub fn kind(mut self, kind: impl Kind) -> Self {
        self.registry.add(kind);
        self
    }

    /// How many jobs run at a time; each has a session of its own. Default [`SLOTS`]. 0: none, it only plans.
    pub fn slots(mut self, slots: u16) -> Self {
        self.registration.slots = slots;
        self
    }

    /// What people see as the holder of a job. Default: the process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.registration.name = name.into();
        self
    }

    /// The application's version: a new one makes jobs "at deploy" due. Default: Sexton's own.
    pub fn deploy(mut self, version: impl Into<String>) -> Self {
        self.registration.deploy = Some(version.into());
        self
    }

    /// What `sexton.meta.identity` must say; where it says otherwise, the replica refuses to run. Default: not asked.
    pub fn database_identity(mut self, identity: impl Into<String>) -> Self {
        self.registration.database_identity = Some(identity.into());
        self
    }

    /// How long a frozen or unreachable replica can keep its jobs. Default 15 s.
    pub fn lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    /// How long a draining replica waits for a batch border before it cancels. Default [`DRAIN_TIMEOUT`].
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Called for what happens to runs of this replica; must not block.
    pub fn on_run(mut self, hook: impl Fn(&RunEvent<'_>) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Sends notices by this. Default: by nothing, notices are left to other replicas.
    pub fn deliver(mut self, deliver: impl Deliver + 'static) -> Self {
        self.deliver = Some(Arc::new(deliver));
        self
    }

    /// Runs these jobs alone; others it still plans. Default: all of the kinds that it knows.
    pub fn only(mut self, jobs: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.only = Some(jobs.into_iter().map(Into::into).collect());
        self
    }

    /// For [`crate::testing`].
    pub(crate) fn for_test(mut self, now: Option<Timestamp>, kill_after_batches: Option<u64>) -> Self {
        self.now = now;
        self.kill_after_batches = kill_after_batches;
        self
    }

    /// The runner; it has done nothing yet.
    pub fn build(mut self) -> Runner {
        self.registration.knows = self.registry.known();
        self.registration.kinds = self.registry.iter().map(crate::kind::Registered::name).collect();
        let shared = Shared {
            connector: self.connector,
            registry: self.registry,
            registration: self.registration,
            installation: None,
            lease: self.lease,
            drain_timeout: self.drain_timeout,
            shutdown: Shutdown::default(),
            hook: self.hook,
            deliver: self.deliver,
            only: self.only,
            now: self.now,
            kill_after_batches: self.kill_after_batches,
        };
        Runner { shared }
    }
}

/// One replica, ready to run.
pub struct Runner {
    shared: Shared,
}

impl Runner {
    /// A runner that connects to this database; see [`crate::protocol::connect`] for what may be given.
    pub fn builder(connector: impl Into<Connector>) -> RunnerBuilder {
        let program = concat!("sexton ", env!("CARGO_PKG_VERSION"));
        RunnerBuilder {
            connector: connector.into(),
            registry: Registry::new(),
            registration: Registration {
                replica_id: Uuid::now_v7(),
                name: format!("pid {}", std::process::id()),
                program: program.to_owned(),
                slots: SLOTS,
                kinds: Vec::new(),
                knows: Vec::new(),
                deploy: Some(program.to_owned()),
                database_identity: None,
            },
            lease: Lease::default(),
            drain_timeout: DRAIN_TIMEOUT,
            hook: None,
            deliver: None,
            only: None,
            now: None,
            kill_after_batches: None,
        }
    }

    /// For [`crate::testing`].
    pub(crate) fn into_shared(self) -> Shared {
        self.shared
    }

    /// Ends the replica, from anywhere.
    pub fn shutdown(&self) -> Shutdown {
        self.shared.shutdown.clone()
    }

    /// Runs until it is shut down.
    ///
    /// # Errors
    /// When it cannot start: no database, no schema or an older one, missing rights, a pooler or a standby in its place.
    /// Later, a database that is away is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future is a crash: sessions close, and other replicas recover the runs.
    pub async fn run(self) -> Result<()> {
        drive::drive(self.shared).await
    }
}

/// What all runs of a replica share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) connector: Connector,
    pub(crate) registry: Registry,
    pub(crate) registration: Registration,
    /// Known once a control session was opened.
    pub(crate) installation: Option<Installation>,
    pub(crate) lease: Lease,
    pub(crate) drain_timeout: Duration,
    pub(crate) shutdown: Shutdown,
    hook: Option<Hook>,
    /// Sends notices.
    pub(crate) deliver: Option<Arc<dyn Deliver>>,
    /// The jobs that it runs, if not all.
    pub(crate) only: Option<BTreeSet<String>>,
    /// A test's clock, in place of the database's.
    pub(crate) now: Option<Timestamp>,
    /// A test's way to lose a run: its session is abandoned after that many batches.
    pub(crate) kill_after_batches: Option<u64>,
}

impl Shared {
    /// Whether this replica runs the job of this name.
    pub(crate) fn takes(&self, job: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(job))
    }

    fn tell(&self, event: &RunEvent<'_>) {
        if let Some(hook) = &self.hook {
            hook(event);
        }
    }

    fn claimant(&self) -> Claimant {
        let installation =
            self.installation.unwrap_or(Installation { install_id: Uuid::nil(), lock_class: 0 });
        Claimant {
            replica_id: self.registration.replica_id,
            holder: self.registration.name.clone(),
            program: self.registration.program.clone(),
            install_id: installation.install_id,
            lock_class: installation.lock_class,
        }
    }
}
