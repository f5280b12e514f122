//! How fast a purge is, and what it asks of the database, as ratios against one single DELETE of the same rows.
//!
//! Side by side: each round measures every way on a fresh copy of the same table (about 250 bytes a row, three indexes),
//! one after the other; ratios are taken within a round, and the table shows their medians. The rows lie either in the
//! order of their age or scattered. Two loops that are often written by hand stand beside it for contrast.
//!
//! It is no test: nothing fails if a machine is slow. What is easy to get wrong: a table that was just filled has no
//! hint bits, and a checkpoint in the middle doubles the WAL, so copies are made from a vacuumed table, and each
//! measurement begins with a checkpoint. Autovacuum is off; everything else is as PostgreSQL has it, fsync included.
//!
//! `cargo bench --bench purge -- --rows 1000000 --rounds 3`

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use sexton::{
    Registry, Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
    testing::Occurrence,
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use support::{argument, machine, quantile, text_argument};

/// The database that all copies are made from.
const TEMPLATE: &str = "template_shop";
/// Rows that the loops take at a time.
const LOOP_ROWS: &str = "10000";

/// How the rows lie.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    ByAge,
    Scattered,
}

/// How the rows are deleted.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Single,
    Purge { walk: &'static str, pacing: &'static str, workers: u16 },
    Loop { name: &'static str, key: &'static str, locking: &'static str },
}

const WAYS: [Way; 8] = [
    Way::Single,
    Way::Purge { walk: "index", pacing: "full", workers: 1 },
    Way::Purge { walk: "heap", pacing: "full", workers: 1 },
    Way::Purge { walk: "index", pacing: "full", workers: 2 },
    Way::Purge { walk: "heap", pacing: "full", workers: 2 },
    Way::Purge { walk: "auto", pacing: "gentle", workers: 1 },
    Way::Loop { name: "loop over ctid, SKIP LOCKED", key: "ctid", locking: "FOR UPDATE SKIP LOCKED" },
    Way::Loop { name: "loop over primary key", key: "id", locking: "" },
];

impl Way {
    fn name(self) -> String {
        match self {
            Way::Single => "one single DELETE".to_owned(),
            Way::Purge { walk, pacing, workers: 1 } => format!("purge, `{pacing}`, walk `{walk}`"),
            Way::Purge { walk, pacing, workers } => {
                format!("purge, `{pacing}`, walk `{walk}`, {workers} workers")
            }
            Way::Loop { name, .. } => name.to_owned(),
        }
    }
}

/// What one way cost, once.
#[derive(Clone, Copy)]
struct Cost {
    rows_per_second: f64,
    wal_bytes: f64,
    longest: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = argument("--rows").unwrap_or(1_000_000);
    let rounds = argument("--rounds").unwrap_or(3);
    let cluster = Cluster::builder()
        .setting("autovacuum", "off")
        .setting("max_wal_size", "16GB")
        .setting("checkpoint_timeout", "1h")
        .setting("shared_buffers", "512MB")
        .start()
        .await?;
    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench purge -- --rows {rows} --rounds {rounds}`: half of the rows go; medians\n"
    );
    println!("| rows lie | way | rows/s | × single DELETE | WAL × single | longest transaction |");
    println!("|---|---|--:|--:|--:|--:|");
    let only = text_argument("--only").unwrap_or_default();
    let chosen = WAYS.iter().filter(|way| **way == Way::Single || way.name().contains(&only));
    let chosen: Vec<Way> = chosen.copied().collect();
    for layout in [Layout::ByAge, Layout::Scattered] {
        prepare(&cluster, layout, rows).await?;
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); chosen.len()];
        for _ in 0..rounds {
            for (way, costs) in chosen.iter().zip(&mut costs) {
                costs.push(measure(&cluster, *way, rows).await?);
            }
        }
        for (way, own) in chosen.iter().zip(&costs) {
            println!("{}", line(layout, *way, own, &costs[0]));
        }
        cluster.drop_database(TEMPLATE).await?;
    }
    Ok(())
}

/// The table that copies are made from: half of it is older than a year.
async fn prepare(cluster: &Cluster, layout: Layout, rows: u64) -> Result<()> {
    cluster.create_database(TEMPLATE).await?;
    let connector = Connector::from(cluster.config(TEMPLATE));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let place = match layout {
        Layout::ByAge => "n",
        // A permutation by a multiplier that shares no factor with the number of rows.
        Layout::Scattered => "(n * 7919 % $rows) + 1",
    };
    let session = connector.open("bench", &[]).await?;
    let fill = format!(
        "CREATE TABLE audit_log (id bigint NOT NULL, created_at timestamptz NOT NULL, user_id bigint NOT NULL, \
           detail text NOT NULL);
         INSERT INTO audit_log SELECT n, now() - interval '2 years' * (1 - ({place})::float8 / $rows), n % 50000, \
           repeat(md5(n::text), 6) FROM generate_series(1, $rows::bigint) AS n;
         ALTER TABLE audit_log ADD PRIMARY KEY (id);
         CREATE INDEX ON audit_log (created_at);
         CREATE INDEX ON audit_log (user_id);"
    );
    session.client.batch_execute(&fill.replace("$rows", &rows.to_string())).await?;
    session.client.batch_execute("VACUUM (FREEZE, ANALYZE) audit_log").await?;
    Ok(())
}

/// Deletes the old half on a fresh copy, one way.
async fn measure(cluster: &Cluster, way: Way, rows: u64) -> Result<Cost> {
    cluster.drop_database("shop").await?;
    cluster.create_database_from(TEMPLATE, "shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    let client = connector.open("bench", &[]).await?.client;
    client.batch_execute("SELECT count(*) FROM audit_log").await?;
    client.batch_execute("CHECKPOINT").await?;
    let cutoff: String = client.query_one("SELECT (now() - interval '1 year')::text", &[]).await?.get(0);
    let wal: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?.get(0);
    let over = CancellationToken::new();
    let watcher = connector.open("bench/watch", &[]).await?.client;
    let watch = tokio::spawn(longest_transaction(watcher, over.clone()));

    let took = match way {
        Way::Single => single(&client, &cutoff).await?,
        Way::Loop { key, locking, .. } => by_hand(&client, &cutoff, key, locking).await?,
        Way::Purge { walk, pacing, workers } => purge(&client, &connector, walk, pacing, workers).await?,
    };

    over.cancel();
    let longest = watch.await.expect("the watching task does not panic")?;
    let written =
        client.query_one("SELECT (pg_current_wal_lsn() - $1::text::pg_lsn)::float8", &[&wal]).await?;
    let left: i64 = client.query_one("SELECT count(*) FROM audit_log", &[]).await?.get(0);
    let deleted = rows as f64 - left as f64;
    assert!((deleted / rows as f64 - 0.5).abs() < 0.01, "{}: {deleted} rows went", way.name());
    Ok(Cost { rows_per_second: deleted / took.as_secs_f64(), wal_bytes: written.get(0), longest })
}

async fn single(client: &Client, cutoff: &str) -> Result<Duration> {
    let began = Instant::now();
    client.batch_execute(&format!("DELETE FROM audit_log WHERE created_at < '{cutoff}'")).await?;
    Ok(began.elapsed())
}

/// The loop that is often written by hand: the first so many again and again, until there are none.
async fn by_hand(client: &Client, cutoff: &str, key: &str, locking: &str) -> Result<Duration> {
    let delete = format!(
        "DELETE FROM audit_log WHERE {key} IN \
           (SELECT {key} FROM audit_log WHERE created_at < '{cutoff}' LIMIT {LOOP_ROWS} {locking})"
    );
    let began = Instant::now();
    while client.execute(&delete, &[]).await? > 0 {}
    Ok(began.elapsed())
}

/// A whole run, from its claim to its end, guards and all; without the VACUUM after it, which a DELETE does not do either.
async fn purge(
    client: &Client,
    connector: &Connector,
    walk: &str,
    pacing: &str,
    workers: u16,
) -> Result<Duration> {
    let params = serde_json::json!({
        "table": "audit_log", "by": "created_at", "retention": "1 year", "walk": walk, "pacing": pacing,
        "workers": workers, "max_fraction": 1, "vacuum": "never",
    });
    client
        .execute("INSERT INTO sexton.job (name, kind, params) VALUES ('audit-log', 'purge', $1)", &[&params])
        .await?;
    client.execute("SELECT sexton.arm('audit-log')", &[]).await?;
    let purge = Occurrence::of("audit-log", connector.clone()).registry(Registry::with_builtins());
    let ran = purge.run().await?;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    let took = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM sexton.run WHERE id = $1";
    Ok(Duration::from_secs_f64(client.query_one(took, &[&ran.run_id]).await?.get(0)))
}

/// The age of the oldest transaction of others, at its highest; looked at every few milliseconds until it is over.
async fn longest_transaction(client: Client, over: CancellationToken) -> Result<Duration> {
    let oldest = "SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 \
                    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                     AND backend_type = 'client backend'";
    let oldest = client.prepare(oldest).await?;
    let mut longest = 0.0_f64;
    while !over.is_cancelled() {
        longest = longest.max(client.query_one(&oldest, &[]).await?.get(0));
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    Ok(Duration::from_secs_f64(longest))
}

/// A line of the table: medians; ratios are taken within each round.
fn line(layout: Layout, way: Way, own: &[Cost], single: &[Cost]) -> String {
    let speed = quantile(own.iter().map(|cost| cost.rows_per_second), 0.5);
    let faster =
        quantile(own.iter().zip(single).map(|(cost, one)| cost.rows_per_second / one.rows_per_second), 0.5);
    let wal = quantile(own.iter().zip(single).map(|(cost, one)| cost.wal_bytes / one.wal_bytes), 0.5);
    let longest = own.iter().map(|cost| cost.longest).max().unwrap_or_default();
    let lie = match layout {
        Layout::ByAge => "by age",
        Layout::Scattered => "scattered",
    };
    format!(
        "| {lie} | {} | {speed:.0} | {faster:.2} | {wal:.2} | {:.0} ms |",
        way.name(),
        longest.as_secs_f64() * 1000.0
    )
}
