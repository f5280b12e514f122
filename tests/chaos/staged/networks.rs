//! F13: a real partition. Replicas in network namespaces of their own, whose link to the server goes down.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use super::{SOON, judge, lacking};
use crate::{
    fleet::server_port,
    machine,
    process::{Keeper, Process, Setup, conninfo},
    takeover::quantile,
    world::{Result, Server, World},
};

/// A namespace and the link to it; both go when it is dropped.
struct Namespace {
    name: String,
    link: String,
    inner: String,
    host: String,
}

impl Namespace {
    fn create(number: u32) -> Result<Namespace> {
        let id = std::process::id() % 10_000;
        let space = Namespace {
            name: format!("sx{id}n{number}"),
            link: format!("sx{id}h{number}"),
            inner: format!("sx{id}i{number}"),
            host: format!("10.213.{number}.1"),
        };
        let Namespace { name, link, inner, host } = &space;
        machine::run("ip", &["netns", "add", name])?;
        machine::run("ip", &["link", "add", link, "type", "veth", "peer", "name", inner, "netns", name])?;
        machine::run("ip", &["addr", "add", &format!("{host}/24"), "dev", link])?;
        machine::run("ip", &["link", "set", link, "up"])?;
        machine::run("ip", &["-n", name, "addr", "add", &format!("10.213.{number}.2/24"), "dev", inner])?;
        space.set("up")?;
        Ok(space)
    }

    /// The end of the link within; down, nothing arrives there and nothing leaves, and the host sees no error.
    fn set(&self, state: &str) -> Result<()> {
        machine::run("ip", &["-n", &self.name, "link", "set", &self.inner, state])
    }

    fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("ip");
        entered.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        entered.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        entered
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with the namespace; either may be missing after a failure.
        let _ = machine::run("ip", &["link", "del", &self.link]);
        let _ = machine::run("ip", &["netns", "del", &self.name]);
    }
}

/// Three replicas, nine jobs; the one that holds the most is cut off.
pub async fn partition() -> Result<String> {
    if !machine::is_root() || machine::program("ip").is_none() {
        return lacking("network namespaces take root and the program ip");
    }
    let mut spaces = Vec::new();
    for number in 0..3 {
        match Namespace::create(number) {
            Ok(space) => spaces.push(space),
            Err(error) => return lacking(format!("no network namespaces here: {error}")),
        }
    }
    let mut server = Server::start(&[]).await?;
    listen_everywhere(&mut server).await?;
    let port = server_port(&server.cluster)?;
    let world = server.world().await?;
    let keeper = Keeper::start()?;
    let mut replicas: Vec<Process> = Vec::new();
    for (number, space) in spaces.iter().enumerate() {
        let setup =
            Setup { slots: 8, ..Setup::new(format!("n{number}"), conninfo(&world.tcp, &space.host, port)) };
        replicas.push(keeper.spawn(space.enter(&setup.command(keeper.diaries())?), &setup.name)?);
    }
    let up = "SELECT count(*) = 3 FROM sexton.replicas WHERE alive";
    world.until("all replicas are up", SOON, up, &[]).await?;
    for index in 0..9 {
        world
            .job(&format!("job-{index}"), "steps", "manual", json!({ "steps": 1_000_000, "rest_ms": 40 }))
            .await?;
    }
    world.until("they are planned", SOON, "SELECT bool_and(planned) FROM sexton.job", &[]).await?;
    world.execute("SELECT sexton.run_now(name) FROM sexton.job").await?;
    let mut times = Vec::new();
    cut_off(&world, &spaces, &mut times).await?;
    world.execute("SELECT sexton.cancel(name) FROM sexton.job").await?;
    world.until("they are cancelled", SOON, "SELECT bool_and(state = 'idle') FROM sexton.job", &[]).await?;
    for replica in &mut replicas {
        replica.drain(SOON).await?;
    }
    let said = judge(&world, None).await?;
    let [p50, most] = [0.5, 1.0].map(|share| quantile(&times, share));
    if most > Duration::from_secs(17) {
        return Err(format!("takeover took {most:.1?}").into());
    }
    Ok(format!("{} takeovers, p50 {p50:.1?}, max {most:.1?} of 17 s; {said}", times.len()))
}

async fn cut_off(world: &World, spaces: &[Namespace], times: &mut Vec<Duration>) -> Result<()> {
    let running =
        "SELECT bool_and(state = 'running') AND NOT EXISTS (SELECT FROM sexton.orphan) FROM sexton.job";
    world.until("all jobs run", SOON, running, &[]).await?;
    let holder: String = world
        .get("SELECT holder FROM sexton.job GROUP BY holder ORDER BY count(*) DESC LIMIT 1", &[])
        .await?;
    let space =
        spaces.iter().enumerate().find(|(number, _)| holder == format!("n{number}")).ok_or("a holder")?.1;
    let held: Vec<(i64, i64)> = world
        .rows("SELECT id, version FROM sexton.job WHERE holder = $1", &[&holder])
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    space.set("down")?;
    let at = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    let deadline = Instant::now() + Duration::from_secs(30);
    for (job, version) in held {
        let taken = "SELECT EXISTS (SELECT FROM chaos.trail WHERE job_id = $1 AND version > $2 AND state = 'running')";
        world.until("it is taken over", deadline - Instant::now(), taken, &[&job, &version]).await?;
        let when = "SELECT min(at) FROM chaos.trail WHERE job_id = $1 AND version > $2 AND state = 'running'";
        let claimed: jiff::Timestamp = world.get(when, &[&job, &version]).await?;
        times.push(Duration::from_micros(u64::try_from(claimed.as_microsecond() - at)?));
    }
    space.set("up")
}

/// Lets the server listen on the namespaces' addresses too, with the password.
async fn listen_everywhere(server: &mut Server) -> Result<()> {
    use std::io::Write;
    let hba = server.cluster.data_dir().join("pg_hba.conf");
    writeln!(std::fs::File::options().append(true).open(hba)?, "host all all 10.213.0.0/16 scram-sha-256")?;
    let session = crate::world::open(&server.cluster.config("postgres")).await?;
    session
        .batch_execute("ALTER SYSTEM SET listen_addresses = '127.0.0.1,10.213.0.1,10.213.1.1,10.213.2.1'")
        .await?;
    drop(session);
    Ok(server.cluster.restart().await?)
}
