//! F23: PgBouncer between replica and server.

use std::{
    os::unix::process::{CommandExt, ExitStatusExt},
    process::Command,
    time::{Duration, Instant},
};

use super::{SOON, all_done, due, judge, lacking};
use crate::{
    fleet::server_port,
    machine,
    process::{Keeper, Process, Setup, conninfo},
    world::{Result, Server, World},
};

/// A pooler in front of a database; the replicas' way in is `port`.
struct Pooler {
    _process: Process,
    keeper: Keeper,
    port: u16,
}

impl Pooler {
    async fn start(server: &Server, world: &World, mode: &str, ignored: &str) -> Result<Pooler> {
        let Some(program) = machine::program("pgbouncer") else {
            return lacking("PgBouncer is not installed");
        };
        let keeper = Keeper::start()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = keeper.folder.path();
        let (user, password) =
            (world.tcp.get_user().unwrap_or_default(), world.tcp.get_password().unwrap_or_default());
        let password = String::from_utf8_lossy(password);
        std::fs::write(folder.join("users"), format!("\"{user}\" \"{password}\"\n"))?;
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={user} password={password}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}/users\npool_mode = {mode}\n\
             ignore_startup_parameters = {ignored}\ndefault_pool_size = 40\nmax_client_conn = 200\n",
            server_port(&server.cluster)?,
            folder.display()
        );
        std::fs::write(folder.join("ini"), ini)?;
        let mut command = Command::new(program);
        command.arg(folder.join("ini"));
        if machine::is_root() {
            let nobody = nix::unistd::User::from_name("nobody")?.ok_or("there is a user nobody")?;
            std::os::unix::fs::chown(folder, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()))?;
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        }
        let process = keeper.spawn(command, "pgbouncer")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if Instant::now() > deadline {
                return Err(format!("PgBouncer does not start: {}", process.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Pooler { _process: process, keeper, port })
    }

    fn replica(&self, world: &World, name: &str) -> Result<Process> {
        Setup::new(name, conninfo(&world.tcp, "127.0.0.1", self.port)).start(&self.keeper)
    }
}

/// Each of twenty replicas finds out and refuses, whether the pooler takes session settings or drops them.
pub async fn transaction_mode(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut refused = 0;
    for ignored in ["extra_float_digits", "extra_float_digits,options"] {
        let pooler = Pooler::start(server, &world, "transaction", ignored).await?;
        for number in 0..10 {
            let mut replica = pooler.replica(&world, &format!("p{number}"))?;
            let deadline = Instant::now() + Duration::from_secs(15);
            let status = loop {
                match replica.ended() {
                    Some(status) => break status,
                    None if Instant::now() > deadline => {
                        return Err("a replica works behind a transaction pooler".into());
                    }
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            let words = replica.last_words();
            let says = words.contains("pool") || words.contains("in the session, though");
            if status.success() || status.signal().is_some() || !says {
                return Err(format!("it does not say why it refuses: {words}").into());
            }
            refused += 1;
        }
    }
    let touched: i64 = world.get("SELECT count(*) FROM chaos.run", &[]).await?;
    if touched > 0 {
        return Err(format!("{touched} runs behind a transaction pooler").into());
    }
    Ok(format!("{refused} of {refused} replicas refused"))
}

/// A pooler in session mode that drops the settings of a lease is refused, and says why; a direct replica does the work.
pub async fn session_mode(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let pooler = Pooler::start(server, &world, "session", "extra_float_digits,options").await?;
    let mut behind = pooler.replica(&world, "behind")?;
    due(&world, 3, 5).await?;
    let deadline = Instant::now() + Duration::from_secs(15);
    while behind.ended().is_none() {
        if Instant::now() > deadline {
            return Err("a replica works without the settings of a lease".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if !behind.last_words().contains("in the session, though") {
        return Err(format!("it does not say that its settings are dropped: {}", behind.last_words()).into());
    }
    let claimed: i64 = world.get("SELECT count(*) FROM chaos.run", &[]).await?;
    if claimed > 0 {
        return Err(format!("{claimed} runs without the settings of a lease").into());
    }
    let port = server_port(&server.cluster)?;
    let mut direct = Setup::new("direct", conninfo(&world.tcp, "127.0.0.1", port)).start(&pooler.keeper)?;
    all_done(&world, SOON).await?;
    direct.drain(SOON).await?;
    judge(&world, None)
        .await
        .map(|said| format!("settings that are dropped are noticed, nothing is claimed; {said}"))
}
