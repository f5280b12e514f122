//! A test's own database on the server that all tests share, and one occurrence of a job in it.
//!
//! What is easy to get wrong: roles belong to the server and not to a database, so each test names its own.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sexton::{
    Registry,
    edge::cluster::Cluster,
    protocol::connect::Connector,
    testing::{Occurrence, Ran},
};
use tokio_postgres::{
    Client, Config,
    types::{FromSqlOwned, ToSql},
};

const TEMPLATE: &str = "migrated";

/// The most that anything in these tests may take. Reaching it is a failure.
const CAP: Duration = Duration::from_secs(60);

/// A database with the schema, and a session to it as superuser.
pub struct Db {
    pub config: Config,
    pub client: Client,
}

impl Db {
    /// A new one on the server that all tests share.
    pub async fn new() -> Db {
        Self::on(server()).await
    }

    /// A new one on this server.
    pub async fn on(server: &Cluster) -> Db {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.create_database_from(TEMPLATE, &name).await.unwrap();
        let config = server.config(&name);
        Db { client: open(&config).await, config }
    }

    /// One more session, as superuser.
    pub async fn session(&self) -> Client {
        open(&self.config).await
    }

    /// Where to connect as somebody else, who may log in without a password.
    pub fn config_of(&self, user: &str) -> Config {
        let mut config = self.config.clone();
        config.user(user);
        config
    }

    /// Executes statements.
    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one value that a query gives.
    pub async fn get<T: FromSqlOwned>(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T {
        let row = self.client.query_one(sql, params).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// Waits until a query says true.
    pub async fn until(&self, what: &str, sql: &str) {
        let wait = async {
            while !self.get::<bool>(sql, &[]).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(CAP, wait).await.is_ok(), "{what}: it did not come to be");
    }

    /// Inserts a manual job.
    pub async fn insert(&self, name: &str, kind: &str, params: Value) {
        let sql = "INSERT INTO sexton.job (name, kind, schedule, params) VALUES ($1, $2, 'manual', $3)";
        self.client.execute(sql, &[&name, &kind, &params]).await.unwrap();
    }

    /// One occurrence of a job, with the built-in kinds, as superuser.
    pub fn occurrence(&self, job: &str) -> Occurrence {
        Occurrence::of(job, self.config.clone()).registry(Registry::with_builtins())
    }

    /// One occurrence by a replica that logs in as somebody else.
    pub fn occurrence_as(&self, job: &str, user: &str) -> Occurrence {
        Occurrence::of(job, self.config_of(user)).registry(Registry::with_builtins())
    }

    /// Runs one occurrence of a job.
    pub async fn run(&self, job: &str) -> Ran {
        self.occurrence(job).run().await.unwrap_or_else(|error| panic!("{job}: {error:?}"))
    }
}

/// A detail of a report.
pub fn detail<'a>(ran: &'a Ran, name: &str) -> &'a Value {
    let report = ran.report.as_ref().unwrap_or_else(|| panic!("no report: {ran:?}"));
    report.get(name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// What a run that did not succeed says.
pub fn error(ran: &Ran) -> &str {
    ran.error.as_deref().unwrap_or_else(|| panic!("no error: {ran:?}"))
}

async fn open(config: &Config) -> Client {
    Connector::from(config.clone()).open("test", &[]).await.unwrap().client
}

fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(own_server(&[]));
        std::thread::spawn(start).join().expect("a private server starts")
    })
}

/// A server with settings of its own, and the template.
pub async fn own_server(settings: &[(&str, &str)]) -> Cluster {
    let mut builder = Cluster::builder().without_fsync().setting("max_connections", "200");
    for (name, value) in settings {
        builder = builder.setting(*name, *value);
    }
    let cluster = builder.start().await.unwrap();
    let session = open(&cluster.config("postgres")).await;
    cluster.create_database(TEMPLATE).await.unwrap();
    sexton::migrate(&cluster.config(TEMPLATE).into(), &Default::default(), |_| {}).await.unwrap();
    let used = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
    while session.query_one(used, &[&TEMPLATE]).await.unwrap().get(0) {
        tokio::task::yield_now().await;
    }
    cluster
}
