//! A private PostgreSQL cluster: for `sexton demo`, for `--database embedded`, and for tests.
//!
//! It is not for production: nobody backs it up, and it lives no longer than the process that started it. It
//! needs PostgreSQL's own programs ([`find_binaries`]) and fetches nothing. Everything of a throwaway cluster is
//! in one temporary folder; it listens on a Unix socket there and, if asked, on a port of 127.0.0.1, where it
//! wants a password. When we are root, it runs as `postgres` or `nobody`, since PostgreSQL refuses root.
//!
//! It ends with its owner, whatever ends the owner: [`Drop`] ends it in order; if we are killed, or leave by
//! [`std::process::exit`], a watchdog does; if that was killed too, the next start of any private cluster removes
//! the folder. What is easy to get wrong: a cluster in a `static` is never dropped, so its end is the watchdog's
//! work, a moment after ours.
//!
//! ```no_run
//! # async fn example() -> sexton::Result<()> {
//! use sexton::edge::cluster::Cluster;
//!
//! let cluster = Cluster::builder().setting("wal_level", "logical").start().await?;
//! cluster.create_database("shop").await?;
//! println!("psql '{}'", cluster.conninfo("shop"));
//! # Ok(())
//! # }
//! ```

mod account;
mod binaries;
mod builder;
mod databases;
mod folder;
mod home;
mod postmaster;
mod start;
#[cfg(test)]
mod tests;
mod watchdog;

use std::path::PathBuf;

use nix::sys::signal::Signal;

pub use binaries::{Binaries, MAJOR_MIN, ServerVersion, find_binaries};
pub use builder::Builder;

use self::{
    account::Account,
    folder::Folder,
    home::{Home, Lifetime},
    postmaster::{Postmaster, Stop},
    watchdog::Watchdog,
};
use crate::error::Result;

/// A private cluster. Dropping it stops it, removes its temporary folder, and waits for both.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: the server stops, then its folder goes, then the watchdog is told.
    postmaster: Option<Postmaster>,
    folder: Folder,
    _watchdog: Watchdog,
    account: Account,
    binaries: Binaries,
    home: Home,
    settings: Vec<(String, String)>,
    listen: builder::Listen,
    port: u16,
    password: String,
    lifetime: Lifetime,
}

impl Cluster {
    /// A throwaway cluster or one with a data folder of its own, with settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Opens the cluster in `folder`, which is created if it is not there: what `--database embedded` does. Its
    /// data stay when this is dropped, its server does not.
    ///
    /// # Errors
    /// As [`Builder::open_or_create`].
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub async fn open_or_create(folder: impl Into<PathBuf>) -> Result<Cluster> {
        Cluster::builder().open_or_create(folder).await
    }

    /// The programs that the cluster runs on.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The data folder. It belongs to the account that the server runs as.
    pub fn data_dir(&self) -> PathBuf {
        self.home.data()
    }

    /// The server's log: the file that its messages go to.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// The last lines of the server's log, for error messages; at most `count`, and at most 16 KiB.
    pub fn log_tail(&self, count: usize) -> String {
        postmaster::last_lines(&postmaster::log_since(&self.home.log(), 0), count)
    }

    /// The process id of the postmaster; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster.as_ref().map(Postmaster::pid)
    }

    /// Stops the server in order: sessions end, everything is written. No effect if it is stopped.
    ///
    /// # Cancel safety
    /// Dropping the future early leaves the server stopping; calling this again goes on waiting.
    pub async fn stop(&mut self) {
        self.stop_by(Stop::Fast).await;
    }

    /// Stops the server as in a crash: nothing is written, and the next start recovers. No effect if it is
    /// stopped.
    ///
    /// # Cancel safety
    /// As [`Cluster::stop`].
    pub async fn stop_immediate(&mut self) {
        self.stop_by(Stop::Immediate).await;
    }

    /// Kills the postmaster with SIGKILL; its sessions notice and end a moment later.
    ///
    /// # Cancel safety
    /// As [`Cluster::stop`].
    pub async fn kill_postmaster(&mut self) {
        self.stop_by(Stop::Kill).await;
    }

    /// Starts a server that was stopped, on the same socket and port. No effect if it runs.
    ///
    /// # Errors
    /// If it does not become ready, with the last lines of its log.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.postmaster.as_mut().is_some_and(|postmaster| postmaster.ended().is_none()) {
            return Ok(());
        }
        self.launch(start::Port::Kept).await
    }

    /// Stops the server in order and starts it on the same socket and port.
    ///
    /// # Errors
    /// As [`Cluster::start_again`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server stopped or running.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        self.start_again().await
    }

    /// Lets the server crash and recover, on the same socket and port.
    ///
    /// # Errors
    /// As [`Cluster::start_again`].
    ///
    /// # Cancel safety
    /// As [`Cluster::restart`].
    pub async fn restart_immediate(&mut self) -> Result<()> {
        self.stop_immediate().await;
        self.start_again().await
    }

    /// Freezes the postmaster with SIGSTOP: sessions go on, and whoever connects gets no answer.
    ///
    /// # Errors
    /// If the server is stopped.
    pub fn freeze_postmaster(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends what [`Cluster::freeze_postmaster`] began.
    ///
    /// # Errors
    /// If the server is stopped.
    pub fn thaw_postmaster(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    async fn stop_by(&mut self, how: Stop) {
        if let Some(postmaster) = &mut self.postmaster {
            postmaster.stop(how).await;
        }
        self.postmaster = None;
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        match &mut self.postmaster {
            Some(postmaster) => postmaster.signal(signal),
            None => Err(start::not_running()),
        }
    }
}
