//! Sexton runs the maintenance of applications on PostgreSQL, above all the purges: each exactly once, however many
//! replicas run, with nothing but the Postgres that is already there.
//!
//! Jobs, schedules and state are rows of `sexton.job`, read and steered with plain SQL. Replicas compete for each due
//! job with a session advisory lock and an update that bumps its version. Every batch is fenced in its own transaction,
//! so that a replica which lost its job can never commit. A crashed replica's job goes on elsewhere, at its cursor,
//! about a second later.
//!
//! # The guarantee, and its limits
//! Effects in the same database are applied exactly once: a batch and the record of its progress commit together or not
//! at all, and only while the run holds its job. Outside the database, work is done by at most one holder at a time (a
//! frozen or cut-off one may overlap for one action in flight) and at least once, with a key by which the other side can
//! tell repetitions. See [`protocol`] and `docs/protocol.md`.
//!
//! # Using it as a library
//! [`runner::Runner`] is one replica, to be embedded in an application; [`kind::Kind`] is what a kind of one's own
//! implements; [`testing`] runs one occurrence in a test. With `default-features = false` only these and the core are
//! compiled: no command line, no TLS, no migrations.
//!
//! # Layout
//! `migrations/` holds the schema, and with it every legal transition; `sql/` holds the statements that this program
//! sends, one a file. In `src/`, each layer uses only those before it: `protocol` → `kind` → `kinds`, `runner` → `edge`. `outside`
//! stands beside them: what a replica knows locally, for kinds and edge.

pub mod error;
pub mod events;
pub mod failpoint;
#[doc(hidden)]
pub mod statements;
pub mod outside;
pub mod protocol;
pub mod kind;
pub mod kinds;
pub mod runner;
pub mod testing;
#[cfg(feature = "migrate")]
pub mod edge;

#[cfg(feature = "migrate")]
pub use edge::migrate::run as migrate;
pub use error::{Error, ErrorKind, Result};
pub use kind::Registry;
pub use protocol::operate::OneOff;

impl Registry {
    /// Knows the built-in kinds, and nothing locally: no secrets, hosts, storages or commands.
    pub fn with_builtins() -> Self {
        Self::with_builtins_and(&outside::Outside::default())
    }

    /// Knows the built-in kinds, which use what the replica knows locally. It may change later by
    /// [`outside::Outside::replace`].
    pub fn with_builtins_and(outside: &outside::Outside) -> Self {
        let mut registry = Registry::new();
        registry
            .know(kind::Names::of(outside.names()))
            .add(kinds::fan_out::FanOut)
            .add(kinds::purge::Purge::new(outside.clone()))
            .add(kinds::references::References)
            .add(kinds::reset::Reset)
            .add(kinds::sql::Statement)
            .add(kinds::upkeep::Upkeep);
        #[cfg(feature = "cli")]
        registry.reach(edge::databases::of(outside));
        #[cfg(feature = "backup")]
        registry.add(kinds::backup::Backup::new(outside.clone()));
        #[cfg(feature = "command")]
        registry.add(kinds::command::Commands::new(outside.clone()));
        #[cfg(feature = "http")]
        registry.add(kinds::http::Http::new(outside.clone()));
        registry
    }
}
