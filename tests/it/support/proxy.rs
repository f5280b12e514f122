//! Proxies: one that drops what a session asks for at its start, as some connection poolers do, and one that falls silent.
//!
//! They read the start-up packet and pass on the rest. They know no TLS: the test's sessions use none.

use std::path::PathBuf;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_postgres::{Config, config::Host};

use super::Db;

const PORT: u16 = 5432;

/// A proxy; it ends with its test's runtime.
pub struct Proxy {
    folder: tempfile::TempDir,
    silent: watch::Sender<bool>,
}

/// What a proxy does.
#[derive(Clone, Copy)]
enum Way {
    DropsOptions,
    /// Once told to, passes on nothing more of sessions whose start names this, and keeps them open.
    FallsSilent(&'static str),
}

impl Proxy {
    /// One that drops the settings of sessions.
    pub async fn without_options(db: &Db) -> Proxy {
        Self::before(db, Way::DropsOptions).await
    }

    /// One that can [fall silent](Proxy::fall_silent), for sessions that have this in their `application_name`.
    pub async fn silent_for(db: &Db, name: &'static str) -> Proxy {
        Self::before(db, Way::FallsSilent(name)).await
    }

    /// Listens in a folder of its own, before the server of this database.
    async fn before(db: &Db, way: Way) -> Proxy {
        let Some(Host::Unix(server)) = db.config.get_hosts().first() else {
            panic!("private servers listen on a socket")
        };
        let server = server.join(format!(".s.PGSQL.{}", db.config.get_ports()[0]));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}"))).unwrap();
        let (silent, told) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone(), way, told.clone()));
            }
        });
        Proxy { folder, silent }
    }

    /// From now on.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// How to come to the database through it.
    pub fn config(&self, db: &Db) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(PORT).user("postgres");
        config.dbname(db.config.get_dbname().unwrap());
        config
    }
}

async fn pass_on(mut client: UnixStream, server: PathBuf, way: Way, mut silent: watch::Receiver<bool>) {
    let length = client.read_u32().await.unwrap() as usize;
    let mut packet = vec![0; length - 4];
    client.read_exact(&mut packet).await.unwrap();
    let mut falls_silent = false;
    match way {
        Way::DropsOptions => packet = without_options(&packet),
        Way::FallsSilent(name) => falls_silent = String::from_utf8_lossy(&packet).contains(name),
    }
    let mut server = UnixStream::connect(server).await.unwrap();
    server.write_u32(u32::try_from(packet.len() + 4).unwrap()).await.unwrap();
    server.write_all(&packet).await.unwrap();
    tokio::select! {
        // Either side may go first; that is the end of the session.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = silent.wait_for(|silent| *silent), if falls_silent => {}
    }
    std::future::pending().await
}

/// A protocol version, then names and values that end with a NUL each, then a NUL.
fn without_options(packet: &[u8]) -> Vec<u8> {
    let (version, rest) = packet.split_at(4);
    let words: Vec<&[u8]> = rest[..rest.len() - 1].split(|byte| *byte == 0).collect();
    let mut kept = version.to_vec();
    for pair in words.chunks_exact(2).filter(|pair| pair[0] != b"options") {
        for word in pair {
            kept.extend_from_slice(word);
            kept.push(0);
        }
    }
    kept.push(0);
    kept
}
