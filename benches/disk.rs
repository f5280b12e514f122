//! What a slow disk makes of the `gentle` pace: how large its batches end, and how fast it is beside batches of fixed
//! sizes at the same pace.
//!
//! On one server a flush of the WAL takes as long as this disk needs, on the other one a tenth of a second more, by
//! `commit_delay`. A controller that chases its time there ends with tiny batches and a fraction of the speed. All rest
//! as long as they work, so that what is compared is the sizes alone. Ways take turns within each round, and medians of
//! the rounds count. What is easy to get wrong: the commits of a purge do not wait for the disk, which would hide it; so a
//! trigger has them wait.
//!
//! `cargo bench --bench disk -- --rows 400000 --rounds 3`

#[path = "support/mod.rs"]
mod support;
#[path = "support/table.rs"]
mod table;

use serde_json::json;
use sexton::{Result, edge::cluster::Cluster};

use support::{argument, machine, quantile};

/// Rows of a batch; `None` leaves them to the controller.
const WAYS: [Option<u64>; 4] = [None, Some(1_000), Some(5_000), Some(20_000)];

const WAIT: &str = "
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      PERFORM set_config('synchronous_commit', 'on', true); RETURN NULL; END $$;
    CREATE TRIGGER wait AFTER DELETE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION wait();";

/// What one way came to, once.
#[derive(Clone, Copy)]
struct Cost {
    rows_per_second: f64,
    /// The mean.
    rows_of_batch: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = argument("--rows").unwrap_or(400_000);
    let rounds = argument("--rounds").unwrap_or(3);
    println!("| a flush takes | rows a batch | rows/s | × the best fixed | rows a batch, mean |");
    println!("|---|--:|--:|--:|--:|");
    for (disk, delay_us) in [("as long as it does", "0"), ("100 ms more", "100000")] {
        let cluster = Cluster::builder()
            .setting("autovacuum", "off")
            .setting("max_wal_size", "16GB")
            .setting("shared_buffers", "512MB")
            .setting("commit_siblings", "0")
            .setting("commit_delay", delay_us)
            .start()
            .await?;
        let create = format!("CREATE TABLE audit_log ({}, PRIMARY KEY (id)); {WAIT}", table::COLUMNS);
        table::prepare(&cluster, &create, rows, "n").await?;
        let mut costs: Vec<Vec<Cost>> = WAYS.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (batch, costs) in WAYS.iter().zip(&mut costs) {
                costs.push(measure(&cluster, *batch).await?);
            }
        }
        let median = |costs: &[Cost], value: fn(&Cost) -> f64| quantile(costs.iter().map(value), 0.5);
        let speed = |costs: &Vec<Cost>| median(costs, |cost| cost.rows_per_second);
        let best = costs[1..].iter().map(speed).fold(0.0, f64::max);
        for (batch, costs) in WAYS.iter().zip(&costs) {
            println!(
                "| {disk} | {} | {:.0} | {:.2} | {:.0} |",
                batch.map_or("adaptive".to_owned(), |rows| rows.to_string()),
                speed(costs),
                speed(costs) / best,
                median(costs, |cost| cost.rows_of_batch),
            );
        }
        if delay_us != "0" {
            println!(
                "\n{}; `cargo bench --bench disk -- --rows {rows} --rounds {rounds}`",
                machine(&cluster)
            );
        }
    }
    Ok(())
}

async fn measure(cluster: &Cluster, batch: Option<u64>) -> Result<Cost> {
    let (connector, client) = table::fresh(cluster).await?;
    let (ran, seconds) = table::purge(&client, &connector, &json!({ "batch": batch })).await?;
    Ok(Cost {
        rows_per_second: ran.rows as f64 / seconds,
        rows_of_batch: ran.rows as f64 / ran.batches.max(1) as f64,
    })
}
