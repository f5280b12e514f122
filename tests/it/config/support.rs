//! A database for each test, on one private cluster, and the registry that the files are checked with.
//!
//! What is easy to get wrong: roles belong to the cluster, so tests that care about roles that must not be there need a
//! cluster of their own.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use sexton::{
    edge::{
        cluster::Cluster,
        config::{self, Config, Problems},
    },
    kind::{Description, Kind, Nature, Param, Registry, Report, RunContext, Stop},
    protocol::connect::Connector,
};
use tokio::sync::OnceCell;
use tokio_postgres::Client;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The cluster that tests share.
pub async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async { Cluster::builder().start().await.expect("a private cluster starts") })
        .await
}

/// A database of one's own.
pub struct Database {
    pub name: String,
    pub connector: Connector,
    pub client: Client,
}

/// An empty database.
pub async fn empty() -> Database {
    let name = format!("config{}", NEXT.fetch_add(1, Ordering::Relaxed));
    cluster().await.create_database(&name).await.expect("a database can be created");
    let connector = Connector::from(cluster().await.config(&name));
    let client = connector.open("test", &[]).await.expect("a session").client;
    Database { name, connector, client }
}

/// A database with Sexton's schema, and a table to purge.
pub async fn migrated() -> Database {
    let database = empty().await;
    sexton::migrate(&database.connector, &Default::default(), |_| {}).await.expect("it migrates");
    database.run("CREATE TABLE audit_log (id bigint PRIMARY KEY, created_at timestamptz); CREATE TABLE sessions (id bigint)").await;
    database
}

impl Database {
    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one value of a query, as text; `NULL` for none.
    pub async fn text(&self, sql: &str) -> String {
        let sql = format!("SELECT coalesce(({sql})::text, 'NULL')");
        self.client.query_one(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// As somebody who may no more than the group role `role`.
    pub async fn login(&self, role: &str) -> Connector {
        let login = format!("{role}_{}", self.name);
        self.run(&format!("CREATE ROLE {login} LOGIN IN ROLE {role}")).await;
        self.as_role(&login).await
    }

    /// As this login role.
    pub async fn as_role(&self, login: &str) -> Connector {
        let mut config = cluster().await.config(&self.name);
        config.user(login);
        Connector::from(config)
    }
}

/// Stands for the purge, whose parameters are not what is tested here.
struct Purge;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(rename = "table")]
    _table: String,
    #[serde(rename = "by")]
    _by: Option<String>,
    #[serde(rename = "retention")]
    _retention: Option<String>,
}

const PARAMS: &[Param] = &[
    Param { name: "table", takes: "table name", default: "none", help: "The table." },
    Param { name: "by", takes: "column", default: "none", help: "The age." },
    Param { name: "retention", takes: "interval", default: "none", help: "How long rows are kept." },
];

impl Kind for Purge {
    type Params = Params;

    fn name(&self) -> &'static str {
        "purge"
    }

    fn describe(&self) -> Description {
        Description { summary: "Deletes.", nature: Nature::Destructive, params: PARAMS, example: "" }
    }

    async fn run(&self, _: &mut RunContext, _: Params) -> Result<Report, Stop> {
        unreachable!("nothing runs in these tests")
    }
}

/// A file's text, read.
pub fn read(text: &str) -> Result<Config, Problems> {
    let mut registry = Registry::new();
    registry.add(Purge);
    config::parse(&[("sexton.toml".into(), text.into())], &registry, &|_| None)
}

/// A file's text, read with the kinds that are built in.
pub fn read_with_builtins(text: &str) -> Result<Config, Problems> {
    config::parse(&[("sexton.toml".into(), text.into())], &Registry::with_builtins(), &|_| None)
}
