//! A database of its own for each test, with the schema `sexton` in it, and a purge job to run there.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sexton::{
    Registry,
    edge::cluster::Cluster,
    testing::{Occurrence, Ran},
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};

const MIGRATIONS: [&str; 4] = [
    include_str!("../../migrations/V1__tables.sql"),
    include_str!("../../migrations/V2__protocol.sql"),
    include_str!("../../migrations/V3__operate.sql"),
    include_str!("../../migrations/V4__views.sql"),
];

/// What `sexton migrate` would have noted.
const HISTORY: &str =
    "CREATE TABLE sexton.schema_history (version int PRIMARY KEY, name text, applied_on text, checksum text);
    INSERT INTO sexton.schema_history SELECT v, 'v', '', '' FROM generate_series(1, 4) v;";

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The cluster that the tests of this process share. Its watchdog ends it with the process.
async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async {
            let cluster = Cluster::builder().without_fsync().start().await.expect("a private cluster starts");
            cluster.create_database("template").await.expect("a database for the schema");
            let client = connect(&cluster.config("template")).await;
            client.batch_execute("CREATE SCHEMA sexton").await.expect("the schema");
            for migration in MIGRATIONS {
                client.batch_execute(&format!("BEGIN; {migration}; COMMIT")).await.expect("a migration");
            }
            client.batch_execute(HISTORY).await.expect("the history of migrations");
            cluster
        })
        .await
}

/// Connects; the connection lives as long as the client.
pub async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("a session");
    tokio::spawn(connection);
    client
}

/// A database with a table and a job.
pub struct World {
    /// Where it is.
    pub config: Config,
    /// A session of the application.
    pub client: Client,
}

impl World {
    /// A database in which `sql` was run.
    pub async fn new(sql: &str) -> World {
        let cluster = cluster().await;
        let name = format!("purge_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Copies of a template are made one at a time.
        static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let one = ONE.lock().await;
        cluster.create_database_from("template", &name).await.expect("a database");
        drop(one);
        let config = cluster.config(&name);
        let client = connect(&config).await;
        client.batch_execute(sql).await.expect("the test's own SQL");
        World { config, client }
    }

    /// Creates the job `j`, armed.
    pub async fn job(&self, params: Value) {
        self.unarmed_job(params, json!({})).await;
        self.client.execute("SELECT sexton.arm('j')", &[]).await.expect("it is armed");
    }

    /// Creates the job `j`, not armed.
    pub async fn unarmed_job(&self, params: Value, inputs: Value) {
        let sql = "INSERT INTO sexton.job (name, kind, params, inputs) VALUES ('j', 'purge', $1, $2)
                   ON CONFLICT (name) DO UPDATE SET params = excluded.params, inputs = excluded.inputs";
        self.client.execute(sql, &[&params, &inputs]).await.expect("the job is saved");
    }

    /// One occurrence of the job `j`.
    pub fn occurrence(&self) -> Occurrence {
        Occurrence::of("j", self.config.clone()).registry(Registry::with_builtins())
    }

    /// Runs the job `j` once.
    pub async fn run(&self) -> Ran {
        self.occurrence().run().await.expect("it runs")
    }

    /// The number that a query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect("a number").get(0)
    }
}

/// A detail of a report.
pub fn detail<'a>(ran: &'a Ran, path: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    ran.report.as_ref().and_then(|report| report.pointer(path)).unwrap_or(&NULL)
}
