//! The table that is purged, and a run of a purge on a fresh copy of it.
//!
//! What is easy to get wrong: a table that was just filled has no hint bits, and a checkpoint in the middle doubles the
//! WAL. So copies are made from a vacuumed table, read once, and followed by a checkpoint.

use serde_json::Value;
use sexton::{
    Registry, Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
    testing::{Occurrence, Ran},
};
use tokio_postgres::Client;

/// The database that all copies are made from.
const TEMPLATE: &str = "template_shop";

/// Columns of a table of about 250 bytes a row.
pub const COLUMNS: &str =
    "id bigint NOT NULL, created_at timestamptz NOT NULL, user_id bigint NOT NULL, detail text NOT NULL";

/// Fills it: `$rows` rows of two years, each at the place in time that `$place` says, from 1 to `$rows`.
const FILL: &str = "
    INSERT INTO audit_log SELECT n, now() - interval '2 years' * (1 - ($place)::float8 / $rows), n % 50000,
      repeat(md5(n::text), 6) FROM generate_series(1, $rows::bigint) AS n;
    CREATE INDEX ON audit_log (created_at);
    CREATE INDEX ON audit_log (user_id);";

/// Makes the database that copies are made from, with the table as `create` does: half of it is older than a year.
pub async fn prepare(cluster: &Cluster, create: &str, rows: u64, place: &str) -> Result<()> {
    cluster.drop_database(TEMPLATE).await?;
    cluster.create_database(TEMPLATE).await?;
    let connector = Connector::from(cluster.config(TEMPLATE));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let session = connector.open("bench", &[]).await?;
    let fill = FILL.replace("$place", place).replace("$rows", &rows.to_string());
    session.client.batch_execute(&format!("{create}; {fill}")).await?;
    session.client.batch_execute("VACUUM (FREEZE, ANALYZE) audit_log").await?;
    Ok(())
}

/// A fresh copy.
pub async fn fresh(cluster: &Cluster) -> Result<(Connector, Client)> {
    cluster.drop_database("shop").await?;
    cluster.create_database_from(TEMPLATE, "shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    let client = connector.open("bench", &[]).await?.client;
    client.batch_execute("SELECT count(*) FROM audit_log").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok((connector, client))
}

/// A whole purge, from its claim to its end, guards and all; without the VACUUM after it, which a DELETE does not do
/// either. What it came to, and how many seconds it took.
pub async fn purge(client: &Client, connector: &Connector, more: &Value) -> Result<(Ran, f64)> {
    let mut params = serde_json::json!({
        "table": "audit_log", "by": "created_at", "retention": "1 year", "max_fraction": 1, "vacuum": "never",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    client
        .execute("INSERT INTO sexton.job (name, kind, params) VALUES ('audit-log', 'purge', $1)", &[&params])
        .await?;
    client.execute("SELECT sexton.arm('audit-log')", &[]).await?;
    let ran =
        Occurrence::of("audit-log", connector.clone()).registry(Registry::with_builtins()).run().await?;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    let took = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM sexton.run WHERE id = $1";
    let took = client.query_one(took, &[&ran.run_id]).await?.get(0);
    Ok((ran, took))
}
