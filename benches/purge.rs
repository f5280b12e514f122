//! How fast a purge is, and what it asks of the database, as ratios against one single DELETE of the same rows.
//!
//! Side by side: each round measures every way on a fresh copy of the same table (about 250 bytes a row, three indexes),
//! one after the other; ratios are taken within a round, and the table shows their medians. The rows lie in the order of
//! their age, scattered, or in partitions of three months. Two loops that are often written by hand stand beside it for
//! contrast.
//!
//! It is no test: nothing fails if a machine is slow. Autovacuum is off; everything else is as PostgreSQL has it, fsync
//! included.
//!
//! `cargo bench --bench purge -- --rows 1000000 --rounds 3`; `--only gentle` measures what has that in its name, and
//! `--setting wal_compression=lz4` on a server with that.

#[path = "support/mod.rs"]
mod support;

#[path = "support/table.rs"]
mod table;

use std::time::{Duration, Instant};

use serde_json::json;
use sexton::{Result, edge::cluster::Cluster, protocol::connect::Connector};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use support::{argument, machine, quantile, text_argument};

/// Rows that the loops take at a time.
const LOOP_ROWS: &str = "10000";

/// How the rows lie.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    ByAge,
    Scattered,
    Partitioned,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::ByAge => "by age",
            Layout::Scattered => "scattered",
            Layout::Partitioned => "in partitions",
        }
    }

    /// Each row's place in time.
    fn place(self) -> &'static str {
        match self {
            Layout::ByAge | Layout::Partitioned => "n",
            // A permutation by a multiplier that shares no factor with the number of rows.
            Layout::Scattered => "(n * 7919 % $rows) + 1",
        }
    }

    fn create(self) -> String {
        let columns = table::COLUMNS;
        match self {
            Layout::ByAge | Layout::Scattered => {
                format!("CREATE TABLE audit_log ({columns}, PRIMARY KEY (id))")
            }
            // One of the bounds is a year ago, so that what is old is whole partitions, and a few rows by the time that
            // the measurements take.
            Layout::Partitioned => format!(
                "CREATE TABLE audit_log ({columns}, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
                 DO $$ BEGIN FOR n IN 0..9 LOOP
                   EXECUTE format('CREATE TABLE audit_log_%s PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)', n,
                     now() - interval '1 year' + (n - 5) * interval '3 months',
                     now() - interval '1 year' + (n - 4) * interval '3 months');
                 END LOOP; END $$"
            ),
        }
    }

    fn ways(self) -> &'static [Way] {
        match self {
            Layout::ByAge | Layout::Scattered => &WAYS,
            Layout::Partitioned => &WAYS_OF_PARTITIONS,
        }
    }
}

/// How the rows are deleted.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Single,
    /// Two DELETEs at once, each of one half: what two sessions can come to on this machine, whoever steers them.
    Halves,
    Purge {
        walk: &'static str,
        pacing: &'static str,
        workers: u16,
    },
    Loop {
        name: &'static str,
        key: &'static str,
        locking: &'static str,
    },
    /// The old partitions, dropped by hand.
    Drop,
}

/// Of these a part of the run's time is its own, whatever the size: looking at the table, guards, report. What stands by
/// hand beside them is the least that the server takes, with no look at anything: a file system may take longer to give the
/// files up than the server to delete the rows.
const WAYS_OF_PARTITIONS: [Way; 4] = [
    Way::Single,
    Way::Drop,
    Way::Purge { walk: "partition", pacing: "full", workers: 1 },
    Way::Purge { walk: "index", pacing: "full", workers: 1 },
];

const WAYS: [Way; 9] = [
    Way::Single,
    Way::Halves,
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
            Way::Halves => "two DELETEs at once, half each".to_owned(),
            Way::Purge { walk, pacing, workers: 1 } => format!("purge, `{pacing}`, walk `{walk}`"),
            Way::Purge { walk, pacing, workers } => {
                format!("purge, `{pacing}`, walk `{walk}`, {workers} workers")
            }
            Way::Loop { name, .. } => name.to_owned(),
            Way::Drop => "partition after partition dropped by hand".to_owned(),
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
    let mut builder = Cluster::builder()
        .setting("autovacuum", "off")
        .setting("max_wal_size", "16GB")
        .setting("checkpoint_timeout", "1h")
        .setting("shared_buffers", "512MB");
    if let Some((name, value)) = text_argument("--setting").as_deref().and_then(|pair| pair.split_once('=')) {
        builder = builder.setting(name, value);
        println!("{name} = {value}");
    }
    let cluster = builder.start().await?;
    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench purge -- --rows {rows} --rounds {rounds}`: half of the rows go; medians\n"
    );
    println!("| rows lie | way | rows/s | × single DELETE | WAL × single | longest transaction |");
    println!("|---|---|--:|--:|--:|--:|");
    let only = text_argument("--only").unwrap_or_default();
    for layout in [Layout::ByAge, Layout::Scattered, Layout::Partitioned] {
        let ways = layout.ways().iter().copied();
        let ways: Vec<Way> = ways.filter(|way| *way == Way::Single || way.name().contains(&only)).collect();
        if ways.len() < 2 {
            continue;
        }
        table::prepare(&cluster, &layout.create(), rows, layout.place()).await?;
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); ways.len()];
        for _ in 0..rounds {
            for (way, costs) in ways.iter().zip(&mut costs) {
                costs.push(measure(&cluster, *way, rows).await?);
            }
        }
        for (way, own) in ways.iter().zip(&costs) {
            println!("{}", line(layout, *way, own, &costs[0]));
        }
    }
    Ok(())
}

/// Deletes the old half on a fresh copy, one way.
async fn measure(cluster: &Cluster, way: Way, rows: u64) -> Result<Cost> {
    let (connector, client) = table::fresh(cluster).await?;
    let cutoff: String = client.query_one("SELECT (now() - interval '1 year')::text", &[]).await?.get(0);
    let wal: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await?.get(0);
    let over = CancellationToken::new();
    let watcher = connector.open("bench/watch", &[]).await?.client;
    let watch = tokio::spawn(longest_transaction(watcher, over.clone()));

    let seconds = match way {
        Way::Single => single(&client, &cutoff).await?,
        Way::Halves => halves(&client, &connector, &cutoff).await?,
        Way::Loop { key, locking, .. } => by_hand(&client, &cutoff, key, locking).await?,
        Way::Drop => dropped(&client).await?,
        Way::Purge { walk, pacing, workers } => {
            let params = json!({"walk": walk, "pacing": pacing, "workers": workers});
            table::purge(&client, &connector, &params).await?.1
        }
    };

    over.cancel();
    let longest = watch.await.expect("the watching task does not panic")?;
    let written =
        client.query_one("SELECT (pg_current_wal_lsn() - $1::text::pg_lsn)::float8", &[&wal]).await?;
    let left: i64 = client.query_one("SELECT count(*) FROM audit_log", &[]).await?.get(0);
    let deleted = rows as f64 - left as f64;
    assert!((deleted / rows as f64 - 0.5).abs() < 0.01, "{}: {deleted} rows went", way.name());
    Ok(Cost { rows_per_second: deleted / seconds, wal_bytes: written.get(0), longest })
}

async fn single(client: &Client, cutoff: &str) -> Result<f64> {
    let began = Instant::now();
    client.batch_execute(&format!("DELETE FROM audit_log WHERE created_at < '{cutoff}'")).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn halves(client: &Client, connector: &Connector, cutoff: &str) -> Result<f64> {
    let other = connector.open("bench", &[]).await?.client;
    let middle =
        "SELECT (min(created_at) + ($1::text::timestamptz - min(created_at)) / 2)::text FROM audit_log";
    let middle: String = client.query_one(middle, &[&cutoff]).await?.get(0);
    let younger = format!("DELETE FROM audit_log WHERE created_at >= '{middle}' AND created_at < '{cutoff}'");
    let began = Instant::now();
    let (one, two) = tokio::join!(single(client, &middle), other.batch_execute(&younger));
    one?;
    two?;
    Ok(began.elapsed().as_secs_f64())
}

/// The loop that is often written by hand: the first so many again and again, until there are none.
async fn by_hand(client: &Client, cutoff: &str, key: &str, locking: &str) -> Result<f64> {
    let delete = format!(
        "DELETE FROM audit_log WHERE {key} IN \
           (SELECT {key} FROM audit_log WHERE created_at < '{cutoff}' LIMIT {LOOP_ROWS} {locking})"
    );
    let began = Instant::now();
    while client.execute(&delete, &[]).await? > 0 {}
    Ok(began.elapsed().as_secs_f64())
}

/// The old half of the partitions, each in a transaction of its own.
async fn dropped(client: &Client) -> Result<f64> {
    let began = Instant::now();
    for n in 0..5 {
        let detach = format!("ALTER TABLE audit_log DETACH PARTITION audit_log_{n}");
        client.batch_execute(&format!("BEGIN; {detach}; DROP TABLE audit_log_{n}; COMMIT")).await?;
    }
    Ok(began.elapsed().as_secs_f64())
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
    let wal = if wal < 0.1 { format!("{wal:.5}") } else { format!("{wal:.2}") };
    let longest = own.iter().map(|cost| cost.longest).max().unwrap_or_default();
    let lie = layout.name();
    format!(
        "| {lie} | {} | {speed:.0} | {faster:.2} | {wal} | {:.0} ms |",
        way.name(),
        longest.as_secs_f64() * 1000.0
    )
}
