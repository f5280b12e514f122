//! How long a job stays without a holder when its holder is killed: kill -9 of the replica's process, at default
//! settings, again and again.
//!
//! Time runs from just before the kill to the claim of the next holder, both by the database's clock. After each kill
//! the rows that are gone are compared with the progress that is recorded, in one snapshot: not one may differ. What is
//! easy to get wrong: with the default three attempts a job that is killed this often is rightly given up, so this one
//! job may be tried more often; the replicas themselves are told nothing but their names.
//!
//! `cargo bench --bench takeover -- --trials 30`

#[path = "support/mod.rs"]
mod support;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use sexton::{
    Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
};
use tokio_postgres::Client;

use support::{argument, machine, quantile};

/// The rows that the purge has before it: more than it can delete in all trials.
const ROWS: i64 = 3_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Small batches, so that the purge lasts.
const SETUP: &str = "
    CREATE TABLE audit_log (id bigint NOT NULL, created_at timestamptz NOT NULL);
    INSERT INTO audit_log SELECT n, now() - interval '2 years' + n * interval '1 second' FROM generate_series(1, 3000000) AS n;
    CREATE INDEX ON audit_log (created_at);
    ANALYZE audit_log;
    INSERT INTO sexton.job (name, kind, max_attempts, params) VALUES ('audit-log', 'purge', 1000,
      '{\"table\": \"audit_log\", \"by\": \"created_at\", \"retention\": \"1 year\", \"max_fraction\": 1, \"batch\": 50}');
    SELECT sexton.arm('audit-log');
    SELECT sexton.run_now('audit-log');";

/// The attempt at work with rows to its name: attempt, holder.
const AT_WORK: &str =
    "SELECT attempt, holder FROM sexton.running WHERE job = 'audit-log' AND rows_done > 0 AND attempt > $1";

/// Rows gone, and rows recorded as gone, in one snapshot.
const EFFECT: &str = "SELECT $1 - (SELECT count(*) FROM audit_log),
    (SELECT coalesce(sum(rows_done), 0)::bigint FROM sexton.runs WHERE job = 'audit-log')";

/// From an instant to the claim of an attempt, in seconds.
const TAKEOVER: &str = "SELECT extract(epoch FROM started_at - $1::text::timestamptz)::float8 FROM sexton.run
    WHERE job_name = 'audit-log' AND attempt = $2";

/// A replica, killed when dropped.
struct Replica {
    name: String,
    process: Child,
}

impl Replica {
    fn start(number: usize, conninfo: &str) -> Replica {
        let name = format!("replica-{number}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command.args(["run", "--name", &name]).env("DATABASE_URL", conninfo).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Replica { name, process: command.spawn().expect("the program was built with the bench") }
    }

    fn kill(&mut self) {
        // An error means that it is dead already, which the trial would notice.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let trials = argument("--trials").unwrap_or(30) as usize;
    let cluster = Cluster::builder().setting("max_wal_size", "4GB").start().await?;
    cluster.create_database("shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let client = connector.open("bench", &[]).await?.client;
    client.batch_execute(SETUP).await?;
    let conninfo = cluster.conninfo("shop");
    let mut replicas: Vec<Replica> = (1..=3).map(|number| Replica::start(number, &conninfo)).collect();
    let mut takeovers = Vec::new();
    let mut at_work = working_after(&client, 0).await?;
    for trial in 0..trials {
        let killed_at: String = client.query_one("SELECT clock_timestamp()::text", &[]).await?.get(0);
        let holder = replicas.iter().position(|replica| replica.name == at_work.holder);
        replicas.remove(holder.expect("one of ours holds the job")).kill();
        let killed = at_work.attempt;
        at_work = working_after(&client, killed).await?;
        // Not before: a replica that starts looks for orphans at once, and would flatter the figure.
        replicas.push(Replica::start(4 + trial, &conninfo));
        takeovers.push(client.query_one(TAKEOVER, &[&killed_at, &(killed + 1)]).await?.get(0));
        let effect = client.query_one(EFFECT, &[&ROWS]).await?;
        let (gone, recorded): (i64, i64) = (effect.get(0), effect.get(1));
        assert_eq!(gone, recorded, "trial {trial}: rows gone, rows recorded");
    }
    report(&cluster, &takeovers);
    Ok(())
}

/// Who works at the job.
struct AtWork {
    attempt: i32,
    holder: String,
}

/// Waits until an attempt after this one has deleted something.
async fn working_after(client: &Client, attempt: i32) -> Result<AtWork> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(row) = client.query_opt(AT_WORK, &[&attempt]).await? {
            return Ok(AtWork { attempt: row.get(0), holder: row.get(1) });
        }
        assert!(tokio::time::Instant::now() < deadline, "nobody works after attempt {attempt}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn report(cluster: &Cluster, takeovers: &[f64]) {
    let trials = takeovers.len();
    let quantile = |share| quantile(takeovers.iter().copied(), share);
    println!("{}; `cargo bench --bench takeover -- --trials {trials}`\n", machine(cluster));
    println!("| kills | p50 | p99 | max | rows gone = rows recorded |\n|--:|--:|--:|--:|---|");
    println!(
        "| {trials} | {:.2} s | {:.2} s | {:.2} s | after each |",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0)
    );
}
