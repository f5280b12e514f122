//! A copy of a private server, by `pg_basebackup`, started by hand: as a standby, or under another clock.
//!
//! `edge::cluster` starts servers of its own making alone, rightly. What is easy to get wrong: the copy's settings name
//! the original's port and socket, so both are given anew on the command line.

use std::{
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sexton::edge::cluster::Cluster;
use tokio_postgres::Config;

use crate::{
    process::{Keeper, Process, output},
    world::{Result, World, open},
};

/// The copy; it stops when dropped.
pub struct Bare {
    process: Option<Process>,
    keeper: Keeper,
    folder: tempfile::TempDir,
    bin: PathBuf,
    owner: (u32, u32),
    pub port: u16,
    password: String,
}

impl Bare {
    /// Copies the server as it is now. With `follow`, the copy is a standby that keeps up with it.
    pub async fn copy(cluster: &Cluster, follow: bool) -> Result<Bare> {
        let metadata = std::fs::metadata(cluster.data_dir())?;
        let owner = (metadata.uid(), metadata.gid());
        let folder = tempfile::Builder::new().prefix("sxb").tempdir()?;
        chown(folder.path(), Some(owner.0), Some(owner.1))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let tcp: Config = cluster.tcp_conninfo("postgres").ok_or("the server listens on TCP")?.parse()?;
        let password = String::from_utf8_lossy(tcp.get_password().unwrap_or_default()).into_owned();
        let bin = cluster.binaries().dir.clone();
        let bare = Bare { process: None, keeper: Keeper::start()?, folder, bin, owner, port, password };
        let source = cluster.conninfo("postgres");
        let mut command = bare.command("pg_basebackup");
        command.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--pgdata"]).arg(bare.data());
        command.args(["--dbname", &source]);
        let output = output(command).await?;
        if !output.status.success() {
            return Err(format!("pg_basebackup: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        std::fs::write(bare.data().join("standby.signal"), "")?;
        if follow {
            let auto = bare.data().join("postgresql.auto.conf");
            let old = std::fs::read_to_string(&auto)?;
            std::fs::write(&auto, format!("{old}primary_conninfo = '{}'\n", source.replace('\'', "''")))?;
        }
        Ok(bare)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.folder.path());
        if nix::unistd::geteuid().is_root() {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        command
    }

    /// Starts it, with these variables, and waits until it answers.
    pub async fn start(&mut self, variables: &[(&str, String)]) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        command.arg("-k").arg(self.folder.path()).args(["-c", "listen_addresses=127.0.0.1"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.process = Some(self.keeper.spawn(command, "copy")?);
        open(&self.config("postgres")).await.map(drop).map_err(|error| {
            let words = self.process.as_ref().map(Process::last_words).unwrap_or_default();
            format!("the copy does not start: {error}; {words}").into()
        })
    }

    /// By the socket, as superuser.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(self.port).user("postgres").dbname(database);
        config
    }

    /// As replicas come.
    pub fn tcp(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").password(&self.password).dbname(database);
        config
    }

    /// A database on it.
    pub async fn world(&self, database: &str) -> Result<World> {
        World::new(self.config(database), self.tcp(database)).await
    }

    /// Makes the standby a primary, on a new timeline.
    pub async fn promote(&self) -> Result<()> {
        let session = open(&self.config("postgres")).await?;
        if session.query_one("SELECT pg_promote(true, 30)", &[]).await?.get::<_, bool>(0) {
            return Ok(());
        }
        Err("the standby was not promoted in time".into())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.signal(Signal::SIGQUIT);
        let deadline = Instant::now() + Duration::from_secs(5);
        while process.ended().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
