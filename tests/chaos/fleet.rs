//! The replicas of a scenario, each on a line of its own.

use std::time::Duration;

use nix::sys::signal::Signal;
use sexton::edge::cluster::Cluster;

use crate::{
    process::{Keeper, Process, Setup, conninfo, is_clean},
    proxy::{Line, Proxy},
    world::{Result, World},
};

/// A replica and its line.
pub struct Member {
    pub setup: Setup,
    pub proxy: Proxy,
    pub process: Process,
    starts: u32,
}

/// All of them.
pub struct Fleet {
    // Processes end before their keeper.
    pub members: Vec<Member>,
    pub keeper: Keeper,
}

/// The port that the server listens on.
pub fn server_port(cluster: &Cluster) -> Result<u16> {
    let conninfo = cluster.tcp_conninfo("postgres").ok_or("the server listens on TCP")?;
    let config: tokio_postgres::Config = conninfo.parse()?;
    config.get_ports().first().copied().ok_or_else(|| "the server has a port".into())
}

impl Fleet {
    /// Nobody yet.
    pub fn new() -> Result<Fleet> {
        Ok(Fleet { members: Vec::new(), keeper: Keeper::start()? })
    }

    /// As many replicas, all alike.
    pub async fn start(world: &World, count: usize, lease: Option<Duration>, slots: u16) -> Result<Fleet> {
        let mut fleet = Fleet::new()?;
        for index in 0..count {
            fleet.join(world, index, |setup| Setup { lease, slots, ..setup }).await?;
        }
        Ok(fleet)
    }

    /// One more.
    pub async fn join(
        &mut self,
        world: &World,
        index: usize,
        change: impl FnOnce(Setup) -> Setup,
    ) -> Result<()> {
        let port = world.tcp.get_ports().first().copied().ok_or("the server has a port")?;
        let proxy = Proxy::start("127.0.0.1", port).await?;
        let setup = change(Setup::new(format!("r{index}"), conninfo(&world.tcp, "127.0.0.1", proxy.port)));
        let process = setup.start(&self.keeper)?;
        self.members.push(Member { setup, proxy, process, starts: 1 });
        Ok(())
    }

    /// Waits until all of them have registered.
    pub async fn ready(&self, world: &World) -> Result<()> {
        let count = i64::try_from(self.members.len())?;
        let alive = "SELECT count(*) >= $1 FROM sexton.replicas WHERE alive";
        world.until("all replicas are up", Duration::from_secs(30), alive, &[&count]).await
    }

    /// Starts again whoever has ended. How many that were; an error if one ended in a way that nothing explains.
    pub fn revive(&mut self) -> Result<usize> {
        let mut revived = 0;
        for member in &mut self.members {
            if member.process.ended().is_some() {
                member.restart(&self.keeper, &[])?;
                revived += 1;
            }
        }
        Ok(revived)
    }

    /// All lines open, everybody awake and alive.
    pub fn heal(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.proxy.set(Line::Open);
            if member.process.frozen {
                member.process.signal(Signal::SIGCONT);
            }
        }
        self.revive().map(drop)
    }

    /// Asks all of them to end, one after the other; the longest that one took.
    pub async fn drain(&mut self, most: Duration) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        for member in &mut self.members {
            if member.process.ended().is_some() {
                continue;
            }
            let (status, took) = member.process.drain(most).await?;
            if !is_clean(status) {
                let words = member.process.last_words();
                return Err(format!("{} ended by {status}: {words}", member.setup.name).into());
            }
            longest = longest.max(took);
        }
        Ok(longest)
    }
}

impl Member {
    /// Kills it if need be, and starts it with these variables besides its own.
    pub fn restart(&mut self, keeper: &Keeper, variables: &[(&str, &str)]) -> Result<()> {
        self.process.kill();
        self.starts += 1;
        let setup =
            variables.iter().fold(self.setup.clone(), |setup, (name, value)| setup.variable(name, *value));
        self.process = setup.start(keeper)?;
        Ok(())
    }
}
