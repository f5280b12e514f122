//! The private PostgreSQL of this test process, and servers that a test may break.
//!
//! It is started by the first test that needs it, on a runtime that is no test's, and outlives them all: the watchdog of
//! `edge::cluster` ends it after this process. What is easy to get wrong: roles belong to the server and not to a
//! database, so a test that makes one gives it a name of its own.

use std::sync::OnceLock;

use sexton::{edge::cluster::Cluster, migrate};

use super::Db;

/// The database that each test's is copied from.
pub const TEMPLATE: &str = "migrated";

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
    cluster.create_database(TEMPLATE).await.unwrap();
    migrate(&cluster.config(TEMPLATE).into(), &Default::default(), |_| {}).await.unwrap();
    let session = Db::session_on(&cluster, TEMPLATE).await;
    session.batch_execute(include_str!("application.sql")).await.unwrap();
    drop(session);
    wait_until_unused(&cluster).await;
    cluster
}

/// A session that was closed by us ends at the server a moment later; until then the template cannot be copied.
async fn wait_until_unused(cluster: &Cluster) {
    let session = Db::session_on(cluster, "postgres").await;
    let used = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = $1)";
    while session.query_one(used, &[&TEMPLATE]).await.unwrap().get(0) {
        tokio::task::yield_now().await;
    }
}
