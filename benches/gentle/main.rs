//! What an application feels while a purge runs beside it, and what while one single DELETE of as many rows does.
//!
//! The application inserts into the very table that is purged, reads somebody's newest rows and updates an account, 30 %
//! as often as it could at most (measured first). Its transactions begin by a timetable, and their time runs from when
//! they should have begun, so that a queue that a purge causes is counted (no coordinated omission). Within one run,
//! windows with nothing beside it, with a purge and with a single DELETE take turns; ratios are taken within each pair of
//! windows, and each round's DELETE takes as many rows as its first purge did. The median of the rounds counts. It is no
//! test: nothing fails if a machine is slow.
//!
//! What is easy to get wrong: rows that are gone still lie in the indexes, and whoever comes next passes over them. So a
//! VACUUM comes between, outside of all windows, and autovacuum, which would come within some, is off. What a window has
//! written the kernel keeps for half a minute before it goes to the disk, in the middle of another one; so it is asked to
//! write it between them.
//!
//! `cargo bench --bench gentle -- --rounds 5 --window 2 --plot docs/gentle.svg`; `--paces gentle,0.4`
//! measures others beside it, a number being a duty cycle.

mod application;
mod plot;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use serde_json::json;
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

use application::{Application, Done, SESSIONS, SHARE};
use support::{argument, machine, quantile, text_argument};

/// Between two windows, for what the last one left to settle.
const PAUSE: Duration = Duration::from_millis(1500);
/// The most that a window may want to delete in a second, about: so many old rows there are.
const ROWS_A_SECOND: u64 = 1_250_000;

const SETUP: &str = "
    CREATE TABLE account (id bigint PRIMARY KEY, seen_at timestamptz NOT NULL DEFAULT now(), visits bigint NOT NULL DEFAULT 0);
    INSERT INTO account (id) SELECT generate_series(1, 100000);
    CREATE TABLE audit_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL,
      user_id bigint NOT NULL, detail text NOT NULL);
    INSERT INTO audit_log (created_at, user_id, detail)
      SELECT now() - interval '2 years' + n * interval '1 year' / $old, n % 100000 + 1, repeat(md5(n::text), 6)
        FROM generate_series(1, $old::bigint) AS n;
    INSERT INTO audit_log (created_at, user_id, detail)
      SELECT now() - interval '11 months' + n * interval '10 months' / $young, n % 100000 + 1, repeat(md5(n::text), 6)
        FROM generate_series(1, $young::bigint) AS n;
    CREATE INDEX ON audit_log (created_at);
    CREATE INDEX ON audit_log (user_id, created_at);
    VACUUM (FREEZE, ANALYZE) audit_log, account;
    CHECKPOINT;";

/// What went on beside the application.
#[derive(Clone, PartialEq)]
enum Beside {
    Nothing,
    /// A purge at this pace.
    Purge(String),
    Single,
}

impl Beside {
    fn name(&self) -> String {
        match self {
            Beside::Nothing => "nothing".to_owned(),
            Beside::Purge(pace) => format!("purge, `{pace}`"),
            Beside::Single => "one single DELETE".to_owned(),
        }
    }
}

/// A stretch of the run.
struct Window {
    beside: Beside,
    from: Duration,
    to: Duration,
    rows: u64,
}

impl Window {
    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / (self.to - self.from).as_secs_f64()
    }

    /// A quantile of the application's times in it, in milliseconds.
    fn milliseconds(&self, done: &[Done], share: f64) -> f64 {
        let within = done.iter().filter(|done| (self.from..self.to).contains(&done.at));
        quantile(within.map(|done| done.took.as_secs_f64() * 1000.0), share)
    }
}

/// What all of it works with.
struct Bench {
    client: Client,
    connector: Connector,
    began: Instant,
    length: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let rounds = argument("--rounds").unwrap_or(5);
    let length = Duration::from_secs(argument("--window").unwrap_or(2));
    let paces = text_argument("--paces").unwrap_or("gentle".to_owned());
    let paces: Vec<Beside> = paces.split(',').map(|pace| Beside::Purge(pace.to_owned())).collect();
    let windows_that_delete = rounds * (paces.len() as u64 + 1);
    let rows = argument("--rows").unwrap_or(windows_that_delete * length.as_secs() * ROWS_A_SECOND);
    let cluster = Cluster::builder()
        .setting("autovacuum", "off")
        .setting("max_wal_size", "16GB")
        .setting("checkpoint_timeout", "1h")
        .setting("shared_buffers", "512MB")
        .start()
        .await?;
    below_the_application(&cluster);
    cluster.create_database("shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let client = connector.open("bench", &[]).await?.client;
    let setup = SETUP.replace("$old", &rows.to_string()).replace("$young", &(rows / 4).to_string());
    for statement in setup.split(';') {
        client.batch_execute(statement).await?;
    }
    for beside in &paces {
        create_job(&client, beside).await?;
    }

    let most = application::as_fast_as_possible(&connector).await?;
    let rate = SHARE * most;
    let bench = Bench { client, connector, began: Instant::now(), length };
    let application = Application::start(&bench.connector, rate, bench.began).await?;
    let mut windows: Vec<Window> = Vec::new();
    for _ in 0..rounds {
        let mut taken = None;
        for beside in paces.iter().chain([&Beside::Single]) {
            windows.push(bench.window(&Beside::Nothing, 0).await?);
            let window = bench.window(beside, taken.unwrap_or_default()).await?;
            taken.get_or_insert(window.rows);
            windows.push(window);
            // What began within the window is to be over before the VACUUM.
            tokio::time::sleep(PAUSE).await;
            bench.client.batch_execute("VACUUM (INDEX_CLEANUP on) audit_log").await?;
            let synced = std::process::Command::new("sync").status();
            assert!(synced.is_ok_and(|status| status.success()), "`sync` writes what the kernel keeps");
        }
    }
    let done = application.stop().await?;

    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench gentle -- --rows {rows} --rounds {rounds} --window {}`: {rate:.0} transactions a second, \
         {:.0} % of the {most:.0} that {SESSIONS} sessions reach\n",
        length.as_secs(),
        SHARE * 100.0
    );
    println!("{}", table(&windows, &done));
    println!("{}", pairs(&windows, &done));
    if let Some(path) = text_argument("--plot") {
        std::fs::write(&path, plot::plot(&windows, &done)).expect("the plot can be written");
    }
    Ok(())
}

/// The application itself would be on another machine. Here it shares processors with the server, and it would be its own
/// waiting for one that is measured; so the server's sessions come after it.
fn below_the_application(cluster: &Cluster) {
    let pid = cluster.pid().expect("the server runs").to_string();
    let lowered = std::process::Command::new("renice").args(["-n", "10", "-p", &pid]).output();
    assert!(
        lowered.is_ok_and(|lowered| lowered.status.success()),
        "`renice` puts the server below the application"
    );
}

/// A job for a pace, named as it.
async fn create_job(client: &Client, beside: &Beside) -> Result<()> {
    let Beside::Purge(pace) = beside else { return Ok(()) };
    let pacing = pace.parse::<f64>().map_or(json!(pace), |share| json!({ "duty_cycle": share }));
    let params = json!({
        "table": "audit_log", "by": "created_at", "retention": "1 year", "pacing": pacing, "max_fraction": 1,
        "vacuum": "never",
    });
    client
        .execute(
            "INSERT INTO sexton.job (name, kind, params) VALUES ($1, 'purge', $2)",
            &[&job(pace), &params],
        )
        .await?;
    client.execute("SELECT sexton.arm($1)", &[&job(pace)]).await?;
    Ok(())
}

fn job(pace: &str) -> String {
    format!("audit-log-{pace}")
}

impl Bench {
    /// One window; a single DELETE takes so many rows.
    async fn window(&self, beside: &Beside, rows: u64) -> Result<Window> {
        let end = match beside {
            Beside::Single => Some(self.age_of(rows).await?),
            Beside::Nothing | Beside::Purge(_) => None,
        };
        tokio::time::sleep(PAUSE).await;
        let from = self.began.elapsed();
        let rows = match (beside, end) {
            (Beside::Purge(pace), _) => self.purge(pace).await?,
            (Beside::Single, Some(end)) => {
                let delete = format!("DELETE FROM audit_log WHERE created_at < '{end}'");
                self.client.execute(&delete, &[]).await?
            }
            (Beside::Nothing | Beside::Single, _) => {
                tokio::time::sleep(self.length).await;
                0
            }
        };
        Ok(Window { beside: beside.clone(), from, to: self.began.elapsed(), rows })
    }

    /// The age that so many rows are older than.
    async fn age_of(&self, rows: u64) -> Result<String> {
        let age = "SELECT created_at::text FROM audit_log WHERE created_at < now() - interval '1 year' \
                    ORDER BY created_at OFFSET $1 LIMIT 1";
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let found = self.client.query_opt(age, &[&rows]).await?;
        Ok(found.expect("more --rows are needed, so that there are enough for all windows").get(0))
    }

    async fn purge(&self, pace: &str) -> Result<u64> {
        let options = sexton::kind::Options {
            time_limit: Some(format!("{} s", self.length.as_secs())),
            ..sexton::kind::Options::default()
        };
        let purge = Occurrence::of(job(pace), self.connector.clone()).registry(Registry::with_builtins());
        let ran = purge.options(options).run().await?;
        let report = ran.report.unwrap_or_default();
        assert_eq!(report["stopped"], "time_limit", "more --rows are needed: {report}");
        Ok(ran.rows.unsigned_abs())
    }
}

fn table(windows: &[Window], done: &[Done]) -> String {
    let pairs_with = |beside: &Beside| -> Vec<&[Window]> {
        windows.chunks(2).filter(|pair| pair[1].beside == *beside).collect()
    };
    let single: Vec<f64> = pairs_with(&Beside::Single).iter().map(|pair| pair[1].rows_per_second()).collect();
    let mut text = String::from(
        "| beside | rows/s | × single DELETE | p50, ms | p99, ms | × own p50 | × own p99 |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let own = |share| quantile(windows.iter().step_by(2).map(|window| window.milliseconds(done, share)), 0.5);
    let mut put = |line: String| writeln!(text, "{line}").expect("a String takes all");
    put(format!("| nothing | | | {:.2} | {:.2} | 1.00 | 1.00 |", own(0.5), own(0.99)));
    let mut told: Vec<&Beside> = Vec::new();
    for Window { beside, .. } in windows {
        if *beside == Beside::Nothing || told.contains(&beside) {
            continue;
        }
        told.push(beside);
        let pairs = pairs_with(beside);
        let of = |value: &dyn Fn(&[Window]) -> f64| quantile(pairs.iter().map(|pair| value(pair)), 0.5);
        let times =
            |share: f64| of(&|pair| pair[1].milliseconds(done, share) / pair[0].milliseconds(done, share));
        let speeds = pairs.iter().zip(&single).map(|(pair, single)| pair[1].rows_per_second() / single);
        put(format!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            beside.name(),
            of(&|pair| pair[1].rows_per_second()),
            quantile(speeds, 0.5),
            of(&|pair| pair[1].milliseconds(done, 0.5)),
            of(&|pair| pair[1].milliseconds(done, 0.99)),
            times(0.5),
            times(0.99)
        ));
    }
    text
}

/// Each pair of windows, in the order in which they came: how far apart they lie says what a median is worth.
fn pairs(windows: &[Window], done: &[Done]) -> String {
    let mut text = String::from("| beside | rows/s | × own p50 | × own p99 |\n|---|--:|--:|--:|\n");
    for pair in windows.chunks(2) {
        let times = |share: f64| pair[1].milliseconds(done, share) / pair[0].milliseconds(done, share);
        let (name, speed) = (pair[1].beside.name(), pair[1].rows_per_second());
        writeln!(text, "| {name} | {speed:.0} | {:.2} | {:.2} |", times(0.5), times(0.99))
            .expect("a String takes all");
    }
    text
}
