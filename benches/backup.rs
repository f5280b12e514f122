//! How much memory a backup takes, and how long: one large table to an S3-compatible server, by `sexton oneshot` in a
//! process of its own.
//!
//! The figure is the most that the process ever held (VmHWM of Linux); the server is in the bench's own process, and so
//! not in it. The rows are random, since what compresses well would never fill the parts of an upload. What is easy to get
//! wrong: the peak must be read while the process lives, and stands still only then.
//!
//! `cargo bench --features s3-server --bench backup -- --mib 2048`, and `--encrypt 1` for an encrypted storage

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use sexton::{
    Error, ErrorKind, Result,
    edge::{
        cluster::Cluster,
        migrate::{self, Options},
    },
    protocol::connect::Connector,
};

/// A row is about 1 KiB of bytes that do not compress, twice as long in hexadecimal digits.
const SETUP: &str = "
    CREATE TABLE big (id bigint PRIMARY KEY, noise bytea NOT NULL);
    ALTER TABLE big ALTER noise SET STORAGE EXTERNAL;
    INSERT INTO sexton.job (name, kind, params) VALUES ('big', 'backup', '{\"storage\": \"bucket\", \"sets\": [{\"table\": \"big\"}]}');";

/// 32 random UUIDs and more a row: 1,024 bytes.
const FILL: &str = "INSERT INTO big SELECT n, (SELECT string_agg(uuid_send(gen_random_uuid()), '') FROM generate_series(n * 0 + 1, 64))
    FROM generate_series($1::bigint, $2::bigint) AS n";

#[tokio::main]
async fn main() -> Result<()> {
    let mib = argument("--mib").unwrap_or(2048);
    let folder = tempfile::tempdir().map_err(outside)?;
    let address = serve(folder.path()).await?;
    let local = folder.path().join("local.toml");
    let text = format!(
        "[secrets.id]\nenv = \"S3_ID\"\n[secrets.key]\nenv = \"S3_KEY\"\n[storages.bucket]\nurl = \"s3://bucket\"\n\
         endpoint = \"http://{address}\"\nplain_http = true\naccess_key_id = \"secret:id\"\nsecret_access_key = \"secret:key\"\n"
    );
    let cipher = folder.path().join("cipher");
    let encrypt = match argument("--encrypt") {
        Some(_) => format!("encrypt_with = \"secret:cipher\"\n[secrets.cipher]\nfile = {cipher:?}\n"),
        None => String::new(),
    };
    std::fs::write(&cipher, "0f".repeat(32)).map_err(outside)?;
    std::fs::write(&local, text + &encrypt).map_err(outside)?;
    let cluster = Cluster::builder().without_fsync().setting("max_wal_size", "4GB").start().await?;
    cluster.create_database("shop").await?;
    let connector = Connector::from(cluster.config("shop"));
    migrate::run(&connector, &Options::default(), |_| {}).await?;
    let client = connector.open("bench", &[]).await?.client;
    client.batch_execute(SETUP).await?;
    for from in (0..mib).map(|chunk| chunk * 1024) {
        client.execute(FILL, &[&(from + 1), &(from + 1024)]).await?;
    }
    let began = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(["oneshot", "big", "--config"])
        .arg(&local)
        .env("DATABASE_URL", cluster.conninfo("shop"))
        .envs([("S3_ID", "id"), ("S3_KEY", "key")])
        .stdout(Stdio::null())
        .spawn()
        .map_err(outside)?;
    let peak = peak_of(&mut process).await?;
    let took = began.elapsed();
    let report = client.query_one("SELECT report FROM sexton.run WHERE job_name = 'big'", &[]).await?;
    let report: serde_json::Value = report.get(0);
    let number = |name: &str| report["sets"][0][name].as_u64().unwrap_or_default();
    assert_eq!(number("rows"), mib.unsigned_abs() * 1024, "all rows are in it: {report}");
    println!(
        "{} MiB as JSON lines, {} MiB as stored, {:.1} s, peak of the process {} MiB",
        number("plain_bytes") >> 20,
        number("bytes") >> 20,
        took.as_secs_f64(),
        peak >> 10
    );
    Ok(())
}

/// Waits for the end of the process; the most memory that it ever held, in KiB.
async fn peak_of(process: &mut Child) -> Result<u64> {
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let found = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(found.unwrap_or(0));
        if let Some(ended) = process.try_wait().map_err(outside)? {
            assert!(ended.success(), "the backup succeeds");
            return Ok(peak);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An S3-compatible server of a folder.
async fn serve(root: &Path) -> Result<SocketAddr> {
    std::fs::create_dir_all(root.join("buckets/bucket")).map_err(outside)?;
    let files = FileSystem::new(root.join("buckets")).map_err(|error| outside(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single("id", "key"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(outside)?;
    let address = listener.local_addr().map_err(outside)?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that goes away is no error of ours.
                drop(server.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    Ok(address)
}

fn argument(name: &str) -> Option<i64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)?.parse().ok()
}

fn outside(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Outside, "the bench cannot be set up").caused_by(cause)
}
