//! A network between a replica and its database that loses what is sent, without ending a connection.

use std::{path::PathBuf, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tokio_postgres::{Config, config::Host};

const PORT: u16 = 5432;

/// The network; it ends with its test's runtime.
pub struct Network {
    folder: tempfile::TempDir,
    /// Connections of earlier generations are dead.
    generation: watch::Sender<u32>,
}

impl Network {
    /// Listens in a folder of its own, before the server of this database.
    pub async fn before(config: &Config) -> Network {
        let Some(Host::Unix(server)) = config.get_hosts().first() else {
            panic!("private servers listen on a socket")
        };
        let server = server.join(format!(".s.PGSQL.{}", config.get_ports()[0]));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}"))).unwrap();
        let generation = watch::Sender::new(0);
        let watched = generation.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server.clone(), watched.subscribe()));
            }
        });
        Network { folder, generation }
    }

    /// How to come to the same database through it.
    pub fn config(&self, config: &Config) -> Config {
        let mut through = Config::new();
        through.host_path(self.folder.path()).port(PORT).user(config.get_user().unwrap());
        through.dbname(config.get_dbname().unwrap());
        through
    }

    /// Whatever is sent on the connections that are there comes to nobody. New ones work.
    pub fn lose_all(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

async fn carry(mut client: UnixStream, server: PathBuf, mut generation: watch::Receiver<u32>) {
    generation.mark_unchanged();
    let mut server = UnixStream::connect(server).await.unwrap();
    let lost = tokio::select! {
        // Either side may go first; that is the end of the session.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => false,
        changed = generation.changed() => changed.is_ok(),
    };
    if lost {
        // Open, and silent, for longer than any test.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}
