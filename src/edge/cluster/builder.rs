//! What a private cluster is to be like, before it is started.
//!
//! The defaults are those of a fresh PostgreSQL, `fsync` included, so that what is measured on a private cluster
//! is true elsewhere. What is easy to get wrong: a setting goes to a file and not to the command line, where it
//! would silently defeat a test's ALTER SYSTEM.

use std::path::PathBuf;

use super::{
    Cluster,
    account::Account,
    binaries,
    folder::Folder,
    home::{Home, Lifetime},
    start::{self, Port},
    watchdog::Watchdog,
};
use crate::error::Result;

/// What the server listens on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listen {
    #[default]
    Socket,
    SocketAndTcp,
}

/// A private cluster to be started; from [`Cluster::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is started before `start` or `open_or_create`"]
pub struct Builder {
    pgbin: Option<PathBuf>,
    settings: Vec<(String, String)>,
    listen: Listen,
}

impl Builder {
    /// Takes the programs from this folder; without it, [`super::find_binaries`] finds them.
    pub fn pgbin(mut self, dir: impl Into<PathBuf>) -> Self {
        self.pgbin = Some(dir.into());
        self
    }

    /// Sets a setting of the server as in `postgresql.conf`. Of two values for one name the later counts.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Listens on a free port of 127.0.0.1 too, with a password ([`Cluster::tcp_conninfo`]).
    pub fn tcp(mut self) -> Self {
        self.listen = Listen::SocketAndTcp;
        self
    }

    /// Writes nothing through to the disk: quicker, and lost if the machine crashes (not if the server does).
    /// For tests; figures measured so are worth nothing.
    pub fn without_fsync(self) -> Self {
        self.setting("fsync", "off").setting("synchronous_commit", "off").setting("full_page_writes", "off")
    }

    /// Creates and starts a throwaway cluster, and waits until it answers; 1 to 3 s.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if what was named will not do (folder of programs, setting);
    /// [`Outside`](crate::ErrorKind::Outside) if there are no programs, or the server does not start, with the
    /// last lines of its log.
    ///
    /// # Cancel safety
    /// Dropping the future stops and removes what was started.
    pub async fn start(self) -> Result<Cluster> {
        let account = Account::find()?;
        let binaries = self.binaries(&account, None)?;
        let folder = Folder::create(&account)?;
        let watchdog = Watchdog::start(&account, folder.path())?;
        let home = Home::new(folder.path());
        home.initialize(&account, &binaries, Lifetime::Throwaway).await?;
        self.launch(account, binaries, folder, watchdog, home, Lifetime::Throwaway).await
    }

    /// Opens the cluster in `folder`, or creates one there, starts it and waits until it answers. One process at
    /// a time can have it open. Its data stay; its server stops with us.
    ///
    /// # Errors
    /// As [`Builder::start`], programs of the major version that made the data being the only ones that do;
    /// also [`Refused`](crate::ErrorKind::Refused) if the folder holds something else, or another process has it
    /// open.
    ///
    /// # Cancel safety
    /// Dropping the future stops what was started.
    pub async fn open_or_create(self, folder: impl Into<PathBuf>) -> Result<Cluster> {
        let given = folder.into();
        let existing = given.join("data");
        let account = if existing.exists() { Account::owner_of(&existing)? } else { Account::find()? };
        let home = Home::prepare(&given, &account)?;
        let major = if home.exists() { Some(home.major()?) } else { None };
        let binaries = self.binaries(&account, major)?;
        let folder = Folder::create(&account)?;
        start::link_data(folder.path(), &home.data())?;
        let watchdog = Watchdog::start(&account, folder.path())?;
        if !home.exists() {
            home.initialize(&account, &binaries, Lifetime::Kept).await?;
        }
        self.launch(account, binaries, folder, watchdog, home, Lifetime::Kept).await
    }

    fn binaries(&self, account: &Account, major: Option<u32>) -> Result<binaries::Binaries> {
        match &self.pgbin {
            Some(dir) => binaries::named(account, dir, major),
            None => binaries::find(account, major),
        }
    }

    async fn launch(
        self,
        account: Account,
        binaries: binaries::Binaries,
        folder: Folder,
        watchdog: Watchdog,
        home: Home,
        lifetime: Lifetime,
    ) -> Result<Cluster> {
        let password = home.password()?;
        let mut cluster = Cluster {
            postmaster: None,
            folder,
            _watchdog: watchdog,
            account,
            binaries,
            home,
            settings: self.settings,
            listen: self.listen,
            port: start::SOCKET_PORT,
            password,
            lifetime,
        };
        cluster.launch(Port::Chosen).await?;
        Ok(cluster)
    }
}
