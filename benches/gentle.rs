//! What an application feels while a purge runs beside it at `gentle` pace, and what while one single DELETE does.
//!
//! The application: sessions that each insert a row into the very table that is purged, read somebody's newest rows and
//! update an account, 30 % as often as they could at most (measured first). Its transactions begin by a timetable, and
//! their time runs from when they should have begun, so that a queue that a purge causes is counted (no coordinated
//! omission). Windows without and with a purge take turns within one run; ratios are taken within each pair, and the
//! median of the pairs counts. The single DELETE comes last, in a pair of its own kind. It is no test: nothing fails if a
//! machine is slow.
//!
//! `cargo bench --bench gentle -- --rows 4000000 --pairs 4 --window 4 --plot docs/gentle.svg`

#[path = "support/mod.rs"]
mod support;

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sexton::{
    Registry, Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
    testing::Occurrence,
};
use tokio_postgres::{Client, Statement};

use support::{argument, machine, quantile, text_argument};

/// Sessions of the application.
const SESSIONS: u64 = 8;
/// What they make of what they could.
const SHARE: f64 = 0.3;
const ACCOUNTS: i64 = 100_000;
/// Between two windows, for what the last one left to settle.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the sessions run as fast as they can, to see how fast that is.
const CALIBRATION: Duration = Duration::from_secs(5);

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
    CHECKPOINT;
    INSERT INTO sexton.job (name, kind, params) VALUES ('audit-log', 'purge',
      '{\"table\": \"audit_log\", \"by\": \"created_at\", \"retention\": \"1 year\", \"max_fraction\": 1, \"vacuum\": \"never\"}');
    SELECT sexton.arm('audit-log');";

/// A transaction of the application: when it should have begun, since the run did, and how long after that it was over.
#[derive(Clone, Copy)]
struct Done {
    at: Duration,
    took: Duration,
}

/// What went on beside the application.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Purge,
    Single,
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

#[tokio::main]
async fn main() -> Result<()> {
    let rows = argument("--rows").unwrap_or(4_000_000);
    let pairs = argument("--pairs").unwrap_or(4);
    let length = Duration::from_secs(argument("--window").unwrap_or(4));
    let cluster =
        Cluster::builder().setting("max_wal_size", "16GB").setting("shared_buffers", "512MB").start().await?;
    cluster.create_database("shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let client = connector.open("bench", &[]).await?.client;
    for statement in
        SETUP.replace("$old", &rows.to_string()).replace("$young", &(rows / 4).to_string()).split(';')
    {
        client.batch_execute(statement).await?;
    }

    let most = as_fast_as_possible(&connector).await?;
    let rate = SHARE * most;
    let began = Instant::now();
    let (over, sessions) = application(&connector, rate, began).await?;
    let mut windows = Vec::new();
    for beside in [Beside::Nothing, Beside::Purge].repeat(usize::try_from(pairs).unwrap_or(1)) {
        windows.push(window(&client, &connector, beside, began, length).await?);
    }
    for beside in [Beside::Nothing, Beside::Single] {
        windows.push(window(&client, &connector, beside, began, length).await?);
    }
    over.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for session in sessions {
        done.extend(session.await.expect("a session of the application does not panic")?);
    }

    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench gentle -- --rows {rows} --pairs {pairs} --window {}`: {rate:.0} transactions a second, \
         {:.0} % of the {most:.0} that {SESSIONS} sessions reach\n",
        length.as_secs(),
        SHARE * 100.0
    );
    println!("{}", table(&windows, &done));
    if let Some(path) = text_argument("--plot") {
        std::fs::write(&path, plot(&windows, &done)).expect("the plot can be written");
    }
    Ok(())
}

/// Transactions a second, each session beginning the next when the last is over.
async fn as_fast_as_possible(connector: &Connector) -> Result<f64> {
    let began = Instant::now();
    let count = Arc::new(AtomicU64::new(0));
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let (session, count) = (Session::open(connector, number).await?, Arc::clone(&count));
        sessions.push(tokio::spawn(async move {
            let mut session = session;
            while began.elapsed() < CALIBRATION {
                session.transact().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, sexton::Error>(())
        }));
    }
    for session in sessions {
        session.await.expect("a session of the application does not panic")?;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

type Sessions = Vec<tokio::task::JoinHandle<Result<Vec<Done>>>>;

/// Starts the application by its timetable; it ends when told that it is over.
async fn application(
    connector: &Connector,
    rate: f64,
    began: Instant,
) -> Result<(Arc<AtomicBool>, Sessions)> {
    let over = Arc::new(AtomicBool::new(false));
    let mut sessions = Vec::new();
    let between = Duration::from_secs_f64(SESSIONS as f64 / rate);
    for number in 0..SESSIONS {
        let (session, over) = (Session::open(connector, number).await?, Arc::clone(&over));
        let first = began + between.mul_f64(number as f64 / SESSIONS as f64);
        sessions.push(tokio::spawn(async move {
            let (mut session, mut next, mut done) = (session, first, Vec::new());
            while !over.load(Ordering::Relaxed) {
                tokio::time::sleep_until(next.into()).await;
                session.transact().await?;
                done.push(Done { at: next - began, took: next.elapsed() });
                next += between;
            }
            Ok(done)
        }));
    }
    Ok((over, sessions))
}

/// A session of the application.
struct Session {
    client: Client,
    dice: u64,
    insert: Statement,
    read: Statement,
    update: Statement,
}

impl Session {
    async fn open(connector: &Connector, number: u64) -> Result<Session> {
        let client = connector.open("application", &[]).await?.client;
        let insert = "INSERT INTO audit_log (created_at, user_id, detail) VALUES (now(), $1::bigint, repeat(md5($1::bigint::text), 6))";
        let read = "SELECT id, detail FROM audit_log WHERE user_id = $1 ORDER BY created_at DESC LIMIT 20";
        let update = "UPDATE account SET seen_at = now(), visits = visits + 1 WHERE id = $1";
        let (insert, read, update) =
            (client.prepare(insert).await?, client.prepare(read).await?, client.prepare(update).await?);
        Ok(Session { client, dice: number + 1, insert, read, update })
    }

    async fn transact(&mut self) -> Result<()> {
        // Knuth's multiplier: spread enough, and the same in each run.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let account = (self.dice >> 33) as i64 % ACCOUNTS + 1;
        let transaction = self.client.transaction().await?;
        transaction.query(&self.read, &[&account]).await?;
        transaction.execute(&self.insert, &[&account]).await?;
        transaction.execute(&self.update, &[&account]).await?;
        Ok(transaction.commit().await?)
    }
}

async fn window(
    client: &Client,
    connector: &Connector,
    beside: Beside,
    began: Instant,
    length: Duration,
) -> Result<Window> {
    tokio::time::sleep(PAUSE).await;
    let from = began.elapsed();
    let rows = match beside {
        Beside::Nothing => {
            tokio::time::sleep(length).await;
            0
        }
        Beside::Purge => purge(connector, length).await?,
        Beside::Single => {
            // The share that the purges left, or all that is left, in one statement.
            let delete = "DELETE FROM audit_log WHERE created_at < now() - interval '1 year'";
            client.execute(delete, &[]).await?
        }
    };
    Ok(Window { beside, from, to: began.elapsed(), rows })
}

async fn purge(connector: &Connector, length: Duration) -> Result<u64> {
    let options = sexton::kind::Options {
        time_limit: Some(format!("{} s", length.as_secs())),
        ..sexton::kind::Options::default()
    };
    let purge = Occurrence::of("audit-log", connector.clone()).registry(Registry::with_builtins());
    let ran = purge.options(options).run().await?;
    let stopped = ran.report.as_ref().and_then(|report| report["stopped"].as_str()).unwrap_or_default();
    assert_eq!(stopped, "time_limit", "more --rows are needed, so that there are enough for all windows");
    Ok(ran.rows.unsigned_abs())
}

fn table(windows: &[Window], done: &[Done]) -> String {
    let single = windows.last().map_or(0.0, Window::rows_per_second);
    let mut text = String::from(
        "| beside | rows/s | × single DELETE | p50, ms | p99, ms | × own p50 | × own p99 |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for (beside, name) in [(Beside::Purge, "purge, `gentle`"), (Beside::Single, "one single DELETE")] {
        let pairs: Vec<&[Window]> = windows.chunks(2).filter(|pair| pair[1].beside == beside).collect();
        let of = |value: &dyn Fn(&[Window]) -> f64| quantile(pairs.iter().map(|pair| value(pair)), 0.5);
        let times =
            |share: f64| of(&|pair| pair[1].milliseconds(done, share) / pair[0].milliseconds(done, share));
        let speed = of(&|pair| pair[1].rows_per_second());
        if beside == Beside::Purge {
            let own = |share: f64| of(&|pair| pair[0].milliseconds(done, share));
            writeln!(text, "| nothing | | | {:.2} | {:.2} | 1.00 | 1.00 |", own(0.5), own(0.99))
                .expect("a String takes all");
        }
        writeln!(
            text,
            "| {name} | {speed:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            speed / single,
            of(&|pair| pair[1].milliseconds(done, 0.5)),
            of(&|pair| pair[1].milliseconds(done, 0.99)),
            times(0.5),
            times(0.99)
        )
        .expect("a String takes all");
    }
    text
}

/// The application's p50 and p99 of each tenth of a second, over time, with what went on beside it.
fn plot(windows: &[Window], done: &[Done]) -> String {
    const STEP: f64 = 0.2;
    let end = windows.last().map_or(1.0, |window| window.to.as_secs_f64());
    let x = |seconds: f64| 50.0 + seconds / end * 730.0;
    // From 0.1 ms to 10 s, by powers of ten.
    let y = |ms: f64| 260.0 - (ms.max(0.1) / 0.1).log10() / 5.0 * 230.0;
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 300\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
    );
    let mut put = |line: String| text.push_str(&(line + "\n"));
    for window in windows {
        let (fill, name) = match window.beside {
            Beside::Nothing => continue,
            Beside::Purge => ("#cfe3f5", "purge"),
            Beside::Single => ("#f5d0d0", "DELETE"),
        };
        let (from, to) = (x(window.from.as_secs_f64()), x(window.to.as_secs_f64()));
        put(format!(
            "<rect x=\"{from:.1}\" y=\"30\" width=\"{:.1}\" height=\"230\" fill=\"{fill}\"/>",
            to - from
        ));
        let middle = (from + to) / 2.0;
        put(format!("<text x=\"{middle:.1}\" y=\"24\" fill=\"#555\" text-anchor=\"middle\">{name}</text>"));
    }
    for (label, ms) in [
        ("0.1 ms", 0.1),
        ("1 ms", 1.0),
        ("10 ms", 10.0),
        ("100 ms", 100.0),
        ("1 s", 1000.0),
        ("10 s", 10_000.0),
    ] {
        let y = y(ms);
        put(format!(
            "<path d=\"M50 {y:.1}H780\" stroke=\"#ddd\"/><text x=\"46\" y=\"{:.1}\" fill=\"#555\" text-anchor=\"end\">{label}</text>",
            y + 4.0
        ));
    }
    for (share, colour, name, at) in [(0.5, "#2a6fb0", "p50", 640), (0.99, "#b03030", "p99", 700)] {
        let mut points = String::new();
        let steps = (end / STEP) as u32;
        for step in 0..steps {
            let from = f64::from(step) * STEP;
            let within = done.iter().filter(|done| (from..from + STEP).contains(&done.at.as_secs_f64()));
            let ms = quantile(within.map(|done| done.took.as_secs_f64() * 1000.0), share);
            write!(points, "{:.1},{:.1} ", x(from), y(ms)).expect("a String takes all");
        }
        put(format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        ));
        put(format!("<text x=\"{at}\" y=\"290\" fill=\"{colour}\">{name}</text>"));
    }
    put(format!(
        "<text x=\"50\" y=\"290\" fill=\"#555\">the application's transactions, each {STEP} s, over {end:.0} s</text>"
    ));
    text + "</svg>\n"
}
