//! What becomes of a purge's batches while somebody keeps an old snapshot open, so that dead rows stay where they are.
//!
//! Each way deletes the same rows in batches of the same size, on a fresh copy of the same table, while a transaction
//! from before is open in another session. A statement trigger notes when each batch came, whoever made it; the time
//! between two notes is a batch's. Ways take turns within each round, and medians of the rounds count. What is easy to
//! get wrong: the first rows of all are looked for in a clean index, so the contrast shows in the last eighth of the
//! batches against the first, and not in a mean.
//!
//! `cargo bench --bench snapshot -- --rows 800000 --batches 400 --rounds 3`

#[path = "support/mod.rs"]
mod support;
#[path = "support/table.rs"]
mod table;

use serde_json::json;
use sexton::{Result, edge::cluster::Cluster};
use tokio_postgres::Client;

use support::{argument, machine, quantile};

const TICKS: &str = "
    CREATE TABLE tick (at timestamptz NOT NULL);
    CREATE FUNCTION tick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO public.tick VALUES (clock_timestamp()); RETURN NULL; END $$;
    CREATE TRIGGER tick AFTER DELETE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION tick();";

/// Milliseconds from each batch to the next, in their order.
const BETWEEN: &str = "SELECT 1000 * extract(epoch FROM at - lag(at) OVER (ORDER BY at))::float8 FROM tick ORDER BY at OFFSET 1";

/// How the rows are deleted.
enum Way {
    /// By a purge with this walk.
    Purge(&'static str),
    /// By a statement that is sent until it finds nothing.
    Loop(&'static str, &'static str),
}

const WAYS: [Way; 4] = [
    Way::Purge("index"),
    Way::Purge("heap"),
    Way::Loop(
        "loop over ctid, in order of age",
        "DELETE FROM audit_log WHERE ctid IN (SELECT ctid FROM audit_log WHERE created_at < '$cutoff' \
           ORDER BY created_at LIMIT $batch FOR UPDATE SKIP LOCKED)",
    ),
    Way::Loop(
        "loop over primary key, in order of age",
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE created_at < '$cutoff' \
           ORDER BY created_at LIMIT $batch)",
    ),
];

impl Way {
    fn name(&self) -> String {
        match self {
            Way::Purge(walk) => format!("purge, walk `{walk}`"),
            Way::Loop(name, _) => (*name).to_owned(),
        }
    }
}

/// The mean of a batch's milliseconds, over the first and over the last eighth of the batches.
#[derive(Clone, Copy)]
struct Cost {
    first: f64,
    last: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = argument("--rows").unwrap_or(800_000);
    let batches = argument("--batches").unwrap_or(400);
    let rounds = argument("--rounds").unwrap_or(3);
    let cluster = Cluster::builder()
        .setting("autovacuum", "off")
        .setting("max_wal_size", "16GB")
        .setting("shared_buffers", "512MB")
        .start()
        .await?;
    let create = format!("CREATE TABLE audit_log ({}, PRIMARY KEY (id)); {TICKS}", table::COLUMNS);
    table::prepare(&cluster, &create, rows, "n").await?;
    let mut costs: Vec<Vec<Cost>> = WAYS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (way, costs) in WAYS.iter().zip(&mut costs) {
            costs.push(measure(&cluster, way, rows / 2 / batches).await?);
        }
    }
    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench snapshot -- --rows {rows} --batches {batches} --rounds {rounds}`: half of the rows go, {} a \
         batch, beside an old snapshot; medians\n",
        rows / 2 / batches
    );
    println!(
        "| way | first eighth, ms a batch | last eighth, ms a batch | last ÷ first |\n|---|--:|--:|--:|"
    );
    for (way, costs) in WAYS.iter().zip(&costs) {
        let of = |value: fn(&Cost) -> f64| quantile(costs.iter().map(value), 0.5);
        println!(
            "| {} | {:.2} | {:.2} | {:.2} |",
            way.name(),
            of(|cost| cost.first),
            of(|cost| cost.last),
            of(|cost| cost.last / cost.first)
        );
    }
    Ok(())
}

async fn measure(cluster: &Cluster, way: &Way, batch: u64) -> Result<Cost> {
    let (connector, client) = table::fresh(cluster).await?;
    let other = connector.open("bench/snapshot", &[]).await?.client;
    other.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await?;
    match way {
        Way::Purge(walk) => {
            let params = json!({"walk": walk, "pacing": "full", "batch": batch});
            table::purge(&client, &connector, &params).await?;
        }
        Way::Loop(_, delete) => by_hand(&client, delete, batch).await?,
    }
    let between = client.query(BETWEEN, &[]).await?;
    other.batch_execute("COMMIT").await?;
    let between: Vec<f64> = between.iter().map(|row| row.get(0)).collect();
    let eighth = between.len() / 8;
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    Ok(Cost { first: mean(&between[..eighth]), last: mean(&between[between.len() - eighth..]) })
}

async fn by_hand(client: &Client, delete: &str, batch: u64) -> Result<()> {
    let cutoff: String = client.query_one("SELECT (now() - interval '1 year')::text", &[]).await?.get(0);
    let delete = delete.replace("$cutoff", &cutoff).replace("$batch", &batch.to_string());
    while client.execute(&delete, &[]).await? > 0 {}
    Ok(())
}
