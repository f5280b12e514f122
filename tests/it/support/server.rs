//! The private PostgreSQL of this test process, and servers that a test may break.
//!
//! It is started by the first test that needs it, on a runtime that is no test's, and outlives them all: the watchdog of
//! `edge::cluster` ends it after this process. What is easy to get wrong: roles belong to the server and not to a
//! database, so the group roles are made here, before the template is.

use std::sync::OnceLock;

use sexton::edge::cluster::Cluster;

use super::Db;

/// The database that each test's is copied from.
pub const TEMPLATE: &str = "migrated";

const GROUP_ROLES: &str = "CREATE ROLE sexton_owner NOLOGIN; CREATE ROLE sexton_runner NOLOGIN;
    CREATE ROLE sexton_operator NOLOGIN; CREATE ROLE sexton_author NOLOGIN; CREATE ROLE sexton_viewer NOLOGIN";

/// The server that all tests share.
pub fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let start = || tokio::runtime::Runtime::new().unwrap().block_on(own_server());
        std::thread::spawn(start).join().expect("a private server starts")
    })
}

/// A server that a test may stop, crash or turn into a standby; with the template.
pub async fn own_server() -> Cluster {
    let cluster = Cluster::builder().without_fsync().setting("max_connections", "300").start().await.unwrap();
    let session = Db::session_on(&cluster, "postgres").await;
    session.batch_execute(GROUP_ROLES).await.unwrap();
    cluster.create_database(TEMPLATE).await.unwrap();
    let session = Db::session_on(&cluster, TEMPLATE).await;
    migrate(&session).await;
    session.batch_execute(include_str!("application.sql")).await.unwrap();
    drop(session);
    wait_until_unused(&cluster).await;
    cluster
}

async fn migrate(session: &tokio_postgres::Client) {
    session
        .batch_execute(
            "CREATE SCHEMA sexton; CREATE TABLE sexton.schema_history (version int PRIMARY KEY, name text)",
        )
        .await
        .unwrap();
    for (version, name, text) in migrations() {
        session.batch_execute(&text).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let noted = "INSERT INTO sexton.schema_history VALUES ($1, $2)";
        session.execute(noted, &[&version, &name]).await.unwrap();
    }
    session.batch_execute(include_str!("../../../sql/grants.sql")).await.unwrap();
}

fn migrations() -> Vec<(i32, String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let version = name[1..].split_once("__").unwrap().0.parse().unwrap();
            (version, name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// A session that was closed by us ends at the server a moment later; until then the template cannot be copied.
async fn wait_until_unused(cluster: &Cluster) {
    let session = Db::session_on(cluster, "postgres").await;
    let used = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
    while session.query_one(used, &[&TEMPLATE]).await.unwrap().get(0) {
        tokio::task::yield_now().await;
    }
}
