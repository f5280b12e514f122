//! How fast rows go for each of which a storage node must be called first, beside the script that this was modelled on.
//!
//! The model is Mozilla's `purge_old_records.py`: it reads ten rows, and for each one in turn asks whether a newer record
//! points to the same data, sends its DELETE on a connection of its own, and deletes the row in a transaction of its own.
//! Here its loop is done by the bench, without the signatures and in no slower a language, so it is rather flattered. The
//! nodes are three stubs that answer at once, or after 20 ms. What is easy to get wrong: rows that go are not enough; each
//! must have been called for exactly once, with one replica and with four.
//!
//! `cargo bench --bench calls -- --rows 4000 --model-rows 400 --rounds 3`

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
};
use sexton::{
    Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::Client;

use support::{argument, machine, quantile};

/// How many rows the model reads at a time, by default.
const MODEL_BATCH: i64 = 10;
const PATIENCE: Duration = Duration::from_secs(300);

const SETUP: &str = "
    CREATE TABLE nodes (id bigint PRIMARY KEY, node text NOT NULL, downed int NOT NULL DEFAULT 0);
    INSERT INTO nodes (id, node) SELECT i, 'http://$address/n' || i FROM generate_series(1, 3) i;
    CREATE TABLE users (uid bigint PRIMARY KEY, email text NOT NULL, nodeid bigint NOT NULL, replaced_at timestamptz);
    CREATE INDEX ON users (replaced_at);
    CREATE INDEX ON users (email);";

/// Half of the rows were replaced long ago; the others are the same users' present ones.
const FILL: &str = "INSERT INTO users SELECT i, 'u' || i % $1 || '@example.com', 1 + i % 3,
       CASE WHEN i <= $1 THEN now() - interval '60 days' - i * interval '1 s' END
  FROM generate_series(1, 2 * $1::bigint) i";

/// What the nodes were called for, and how often.
type Calls = Arc<Mutex<BTreeMap<String, u32>>>;

/// The nodes, as one server.
struct Nodes {
    address: SocketAddr,
    calls: Calls,
}

impl Nodes {
    async fn serve(latency: Duration) -> Nodes {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let calls = Calls::default();
        let answer = async move |State(calls): State<Calls>, request: Request| {
            tokio::time::sleep(latency).await;
            let path = request.uri().path().to_owned();
            *calls.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += 1;
            StatusCode::NO_CONTENT
        };
        let app = Router::new().fallback(answer).with_state(Arc::clone(&calls));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Nodes { address, calls }
    }

    /// How many different paths were called, and how many calls came; forgets them.
    fn came(&self) -> (usize, u32) {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        (calls.len(), calls.values().sum())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let rows = argument("--rows").unwrap_or(4_000);
    let model_rows = argument("--model-rows").unwrap_or(400);
    let rounds = argument("--rounds").unwrap_or(3);
    let cluster = Cluster::builder().start().await?;
    println!("{}", machine(&cluster));
    println!(
        "`cargo bench --bench calls -- --rows {rows} --model-rows {model_rows} --rounds {rounds}`; medians\n"
    );
    println!("| a node answers after | way | rows/s | × model | calls for each row |\n|---|---|--:|--:|---|");
    for latency in [0, 20] {
        let nodes = Nodes::serve(Duration::from_millis(latency)).await;
        let mut speeds: [Vec<f64>; 3] = Default::default();
        for _ in 0..rounds {
            speeds[0].push(model(&cluster, &nodes, model_rows).await?);
            for (speeds, replicas) in speeds[1..].iter_mut().zip([1, 4]) {
                speeds.push(sexton(&cluster, &nodes, rows, replicas).await?);
            }
        }
        for (way, own) in ["the model's loop", "purge, 1 replica", "purge, 4 replicas"].iter().zip(&speeds) {
            let times = quantile(own.iter().zip(&speeds[0]).map(|(own, model)| own / model), 0.5);
            let speed = quantile(own.iter().copied(), 0.5);
            println!("| {latency} ms | {way} | {speed:.0} | {times:.1} | 1 |");
        }
    }
    Ok(())
}

/// A database with so many rows to go.
async fn fresh(cluster: &Cluster, nodes: &Nodes, rows: u64) -> Result<(Connector, Client)> {
    cluster.drop_database("shop").await?;
    cluster.create_database("shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let client = connector.open("bench", &[]).await?.client;
    client.batch_execute(&SETUP.replace("$address", &nodes.address.to_string())).await?;
    client.execute(FILL, &[&(rows.cast_signed())]).await?;
    client.batch_execute("VACUUM ANALYZE users").await?;
    Ok((connector, client))
}

/// That all rows are gone, and each was called for once.
async fn check(client: &Client, nodes: &Nodes, rows: u64) -> Result<()> {
    let left: i64 =
        client.query_one("SELECT count(*) FROM users WHERE replaced_at IS NOT NULL", &[]).await?.get(0);
    let (called, calls) = nodes.came();
    assert_eq!((left, called as u64, u64::from(calls)), (0, rows, rows), "rows left, rows called for, calls");
    Ok(())
}

/// The script's loop; rows a second.
async fn model(cluster: &Cluster, nodes: &Nodes, rows: u64) -> Result<f64> {
    let (_, client) = fresh(cluster, nodes, rows).await?;
    let old = "SELECT u.uid, u.email, n.node FROM users u JOIN nodes n ON n.id = u.nodeid
                WHERE u.replaced_at < now() - interval '30 days' ORDER BY u.replaced_at DESC, u.uid DESC LIMIT $1";
    let newer = "SELECT nodeid FROM users WHERE email = $1 AND replaced_at IS NULL ORDER BY uid DESC LIMIT 1";
    let (old, newer) = (client.prepare(old).await?, client.prepare(newer).await?);
    let delete = client.prepare("DELETE FROM users WHERE uid = $1").await?;
    let began = Instant::now();
    loop {
        let found = client.query(&old, &[&MODEL_BATCH]).await?;
        if found.is_empty() {
            break;
        }
        for row in found {
            let (uid, email): (i64, String) = (row.get(0), row.get(1));
            client.query_opt(&newer, &[&email]).await?;
            let node: String = row.get(2);
            let path = node.rsplit('/').next().unwrap_or_default();
            call(nodes.address, &format!("/{path}/1.5/{uid}")).await.expect("the stub answers");
            client.execute(&delete, &[&uid]).await?;
        }
    }
    let took = began.elapsed();
    check(&client, nodes, rows).await?;
    Ok(rows as f64 / took.as_secs_f64())
}

/// One call on a connection of its own.
async fn call(address: SocketAddr, path: &str) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("DELETE {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    Ok(())
}

/// A replica, killed when dropped.
struct Replica(Child);

impl Replica {
    fn start(local: &Path, conninfo: &str) -> Replica {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sexton"));
        command.args(["run", "--config"]).arg(local).env("DATABASE_URL", conninfo).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Replica(command.spawn().expect("the program was built with the bench"))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // An error means that it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A purge by so many replicas; rows a second of its run, from its claim to its end.
async fn sexton(cluster: &Cluster, nodes: &Nodes, rows: u64, replicas: usize) -> Result<f64> {
    let (_connector, client) = fresh(cluster, nodes, rows).await?;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let local = folder.path().join("local.toml");
    let text = "[http]\nhosts = [\"127.0.0.1\"]\nprivate_addresses = true\nplain_http = true\n";
    std::fs::write(&local, text).expect("a file can be written");
    let params = serde_json::json!({
        "table": "users", "by": "replaced_at", "retention": "30 days", "max_fraction": 1, "vacuum": "never",
        "before_delete": {
            "url": "{target.node}/1.5/{uid}",
            "target": {"table": "nodes", "column": "nodeid", "key": "id", "down": "downed > 0"},
        },
    });
    client
        .execute("INSERT INTO sexton.job (name, kind, params) VALUES ('users', 'purge', $1)", &[&params])
        .await?;
    client.batch_execute("SELECT sexton.arm('users'); SELECT sexton.run_now('users')").await?;
    let conninfo = cluster.conninfo("shop");
    let replicas: Vec<Replica> = (0..replicas).map(|_| Replica::start(&local, &conninfo)).collect();
    let ended = "SELECT state, extract(epoch FROM finished_at - started_at)::float8 FROM sexton.runs WHERE job = 'users' AND finished_at IS NOT NULL";
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(row) = client.query_opt(ended, &[]).await? {
            break row;
        }
        assert!(Instant::now() < deadline, "the purge ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    drop(replicas);
    assert_eq!(ended.get::<_, String>(0), "succeeded");
    check(&client, nodes, rows).await?;
    Ok(rows as f64 / ended.get::<_, f64>(1))
}
