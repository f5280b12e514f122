//! A proxy that drops what a session asks for at its start, as some connection poolers do.
//!
//! It rewrites the start-up packet and passes on the rest. It knows no TLS: the test's sessions use none.

use std::path::PathBuf;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_postgres::{Config, config::Host};

use super::Db;

const PORT: u16 = 5432;

/// The proxy; it ends with its test's runtime.
pub struct DropsOptions {
    folder: tempfile::TempDir,
}

impl DropsOptions {
    /// Listens in a folder of its own, before the server of this database.
    pub async fn before(db: &Db) -> DropsOptions {
        let Some(Host::Unix(server)) = db.config.get_hosts().first() else {
            panic!("private servers listen on a socket")
        };
        let server = server.join(format!(".s.PGSQL.{}", db.config.get_ports()[0]));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}"))).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server.clone()));
            }
        });
        DropsOptions { folder }
    }

    /// How to come to the database through it.
    pub fn config(&self, db: &Db) -> Config {
        let mut config = Config::new();
        config.host_path(self.folder.path()).port(PORT).user("postgres");
        config.dbname(db.config.get_dbname().unwrap());
        config
    }
}

async fn pass_on(mut client: UnixStream, server: PathBuf) {
    let length = client.read_u32().await.unwrap() as usize;
    let mut packet = vec![0; length - 4];
    client.read_exact(&mut packet).await.unwrap();
    let packet = without_options(&packet);
    let mut server = UnixStream::connect(server).await.unwrap();
    server.write_u32(u32::try_from(packet.len() + 4).unwrap()).await.unwrap();
    server.write_all(&packet).await.unwrap();
    // Either side may go first; that is the end of the session.
    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
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
