//! The PostgreSQL that the tests share, and servers that a test may break.
//!
//! The shared one is private to this process, or the one that `SEXTON_TEST_DSN` names (a superuser's, as
//! `docker-compose.test.yml` starts it). A private one is started by the first test that needs it, on a runtime that is
//! no test's, and outlives them all: the watchdog of `edge::cluster` ends it after this process. What is easy to get
//! wrong: roles belong to the server and not to a database, so a test that makes one gives it a name of its own.

use std::sync::OnceLock;

use sexton::{edge::cluster::Cluster, migrate};
use tokio_postgres::{Config, config::Host};

use super::db::open;

/// The database that each test's is copied from. On a server that others use too, it is this process's own.
const TEMPLATE: &str = "migrated";

/// Where databases are made.
pub enum Server {
    /// A server of our own.
    Own(Cluster),
    /// Somebody's, and what our databases' names begin with.
    Given(Config, String),
}

impl Server {
    /// How to connect to a database on it.
    pub fn config(&self, database: &str) -> Config {
        match self {
            Server::Own(cluster) => cluster.config(database),
            Server::Given(config, prefix) => {
                let mut config = config.clone();
                config.dbname(format!("{prefix}{database}"));
                config
            }
        }
    }

    /// The same for other programs.
    pub fn conninfo(&self, database: &str) -> String {
        let (config, prefix) = match self {
            Server::Own(cluster) => return cluster.conninfo(database),
            Server::Given(config, prefix) => (config, prefix),
        };
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or("postgres");
        let password = config.get_password().map(String::from_utf8_lossy).unwrap_or_default();
        format!("host='{host}' port={port} user='{user}' password='{password}' dbname='{prefix}{database}'")
    }

    /// Makes a database like the template.
    pub async fn copy(&self, database: &str) {
        match self {
            Server::Own(cluster) => cluster.create_database_from(TEMPLATE, database).await.unwrap(),
            Server::Given(config, prefix) => {
                let create = format!("CREATE DATABASE {prefix}{database} TEMPLATE {prefix}{TEMPLATE}");
                open(config, "test").await.batch_execute(&create).await.unwrap();
            }
        }
    }

    /// Makes a database with nothing in it.
    pub async fn create(&self, database: &str) {
        match self {
            Server::Own(cluster) => cluster.create_database(database).await.unwrap(),
            Server::Given(config, prefix) => {
                let create = format!("CREATE DATABASE {prefix}{database} TEMPLATE template0");
                open(config, "test").await.batch_execute(&create).await.unwrap();
            }
        }
    }

    /// The server of our own, to be stopped and broken.
    pub fn cluster(&mut self) -> &mut Cluster {
        match self {
            Server::Own(cluster) => cluster,
            Server::Given(..) => panic!("nobody else's server is broken by a test"),
        }
    }

    async fn prepare(&self) {
        self.create(TEMPLATE).await;
        migrate(&self.config(TEMPLATE).into(), &Default::default(), |_| {}).await.unwrap();
        let session = open(&self.config(TEMPLATE), "test").await;
        session.batch_execute(include_str!("application.sql")).await.unwrap();
        drop(session);
        self.wait_until_unused().await;
    }

    /// A session that was closed by us ends at the server a moment later; until then the template cannot be copied.
    async fn wait_until_unused(&self) {
        let session = match self {
            Server::Own(cluster) => open(&cluster.config("postgres"), "test").await,
            Server::Given(config, _) => open(config, "test").await,
        };
        let template = self.config(TEMPLATE);
        let used = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
        while session.query_one(used, &[&template.get_dbname()]).await.unwrap().get(0) {
            tokio::task::yield_now().await;
        }
    }
}

/// The server that all tests share.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(shared());
        std::thread::spawn(start).join().expect("a server for the tests")
    })
}

async fn shared() -> Server {
    let Ok(dsn) = std::env::var("SEXTON_TEST_DSN") else { return own_server().await };
    let config = dsn.parse().expect("SEXTON_TEST_DSN is a connection string");
    let server = Server::Given(config, format!("sexton_test_{}_", std::process::id()));
    server.prepare().await;
    server
}

/// A server that a test may stop, crash or turn into a standby; with the template.
pub async fn own_server() -> Server {
    own_server_with(&[]).await
}

/// The same with settings of its own.
pub async fn own_server_with(settings: &[(&str, &str)]) -> Server {
    let mut builder = Cluster::builder().without_fsync().setting("max_connections", "300");
    for (name, value) in settings {
        builder = builder.setting(*name, *value);
    }
    let server = Server::Own(builder.start().await.unwrap());
    server.prepare().await;
    server
}
