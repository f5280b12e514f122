//! A server of the suite's own and databases on it: migrated, with the recorder installed.
//!
//! Everything the suite asks of a database goes through [`World`]'s superuser session, by the socket: faults act on the
//! TCP side, where the replicas are. What is easy to get wrong: a fault may take this very session away (a restart), so
//! it is opened anew whenever it is closed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sexton::{edge::cluster::Cluster, protocol::connect::Connector};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};
use tokio_postgres::{
    Client, Config, Row,
    types::{FromSqlOwned, ToSql},
};

/// Whatever went wrong, in words: here an error ends a scenario, and its text is all that anybody needs.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The database that all others are copied from.
const TEMPLATE: &str = "migrated";

/// What is installed besides Sexton itself.
pub const RECORDER: [(&str, &str); 2] =
    [("recorder.sql", include_str!("recorder.sql")), ("targets.sql", include_str!("targets.sql"))];

/// A private server with the template.
pub struct Server {
    pub cluster: Cluster,
}

impl Server {
    /// Starts one with these settings besides the suite's own.
    pub async fn start(settings: &[(&str, &str)]) -> Result<Server> {
        Server::prepare(Self::builder(settings).start().await?).await
    }

    /// The same with its data in a folder that stays.
    pub async fn start_in(folder: &Path, settings: &[(&str, &str)]) -> Result<Server> {
        Server::prepare(Self::builder(settings).open_or_create(folder).await?).await
    }

    /// The same with programs of another folder.
    pub async fn start_from(programs: &Path) -> Result<Server> {
        Server::prepare(Self::builder(&[]).pgbin(programs).start().await?).await
    }

    fn builder(settings: &[(&str, &str)]) -> sexton::edge::cluster::Builder {
        let ours = [
            ("max_connections", "200"),
            ("track_commit_timestamp", "on"),
            ("max_prepared_transactions", "0"),
        ];
        let builder = Cluster::builder().tcp().without_fsync();
        ours.iter().chain(settings).fold(builder, |builder, (name, value)| builder.setting(*name, *value))
    }

    async fn prepare(cluster: Cluster) -> Result<Server> {
        cluster.create_database(TEMPLATE).await?;
        let session = open(&cluster.config(TEMPLATE)).await?;
        let history = "CREATE SCHEMA sexton; CREATE TABLE sexton.schema_history
            (version int PRIMARY KEY, name text, applied_on text, checksum text)";
        session.batch_execute(history).await?;
        for (version, name, text) in migrations()? {
            session.batch_execute(&text).await.map_err(|error| format!("{name}: {error:?}"))?;
            let noted = "INSERT INTO sexton.schema_history VALUES ($1, $2)";
            session.execute(noted, &[&version, &name]).await?;
        }
        for (name, text) in RECORDER {
            session.batch_execute(text).await.map_err(|error| format!("{name}: {error:?}"))?;
        }
        drop(session);
        Ok(Server { cluster })
    }

    /// `PostgreSQL 15.8`.
    pub async fn version(&self) -> Result<String> {
        let session = open(&self.cluster.config("postgres")).await?;
        let row = session.query_one("SELECT 'PostgreSQL ' || current_setting('server_version')", &[]).await?;
        Ok(row.get(0))
    }

    /// A new database.
    pub async fn world(&self) -> Result<World> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("chaos_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let postgres = open(&self.cluster.config("postgres")).await?;
        let used = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        let deadline = Instant::now() + Duration::from_secs(10);
        while postgres.query_one(used, &[&TEMPLATE]).await?.get::<_, i64>(0) > 0 && Instant::now() < deadline
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.cluster.create_database_from(TEMPLATE, &name).await?;
        self.existing(&name).await
    }

    /// A database that is there.
    pub async fn existing(&self, name: &str) -> Result<World> {
        let tcp = self.cluster.tcp_conninfo(name).ok_or("the server listens on TCP")?;
        World::new(self.cluster.config(name), tcp.parse()?).await
    }
}

/// A database under test.
#[derive(Clone)]
pub struct World {
    /// By the socket, as superuser.
    pub config: Config,
    /// By TCP, as replicas come.
    pub tcp: Config,
    session: Arc<Mutex<Option<Client>>>,
}

impl World {
    pub async fn new(config: Config, tcp: Config) -> Result<World> {
        let client = open(&config).await?;
        Ok(World { config, tcp, session: Arc::new(Mutex::new(Some(client))) })
    }

    /// Its name.
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// One more session.
    pub async fn session(&self) -> Result<Client> {
        open(&self.config).await
    }

    async fn own(&self) -> Result<MutexGuard<'_, Option<Client>>> {
        let mut session = self.session.lock().await;
        if session.as_ref().is_none_or(Client::is_closed) {
            *session = Some(open(&self.config).await?);
        }
        Ok(session)
    }

    pub async fn execute(&self, sql: &str) -> Result<()> {
        let session = self.own().await?;
        let client = session.as_ref().ok_or("no session")?;
        client.batch_execute(sql).await.map_err(|error| format!("{sql}: {error:?}").into())
    }

    pub async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let session = self.own().await?;
        let client = session.as_ref().ok_or("no session")?;
        client.query(sql, params).await.map_err(|error| format!("{sql}: {error:?}").into())
    }

    /// The one value that a query gives.
    pub async fn get<T: FromSqlOwned>(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<T> {
        let rows = self.rows(sql, params).await?;
        Ok(rows.first().ok_or_else(|| format!("{sql}: no row"))?.try_get(0)?)
    }

    /// Inserts a job.
    pub async fn job(&self, name: &str, kind: &str, schedule: &str, params: serde_json::Value) -> Result<()> {
        let sql = "INSERT INTO sexton.job (name, kind, schedule, params, max_attempts, backoff)
                   VALUES ($1, $2, $3, $4, 1000, '20 ms')";
        self.rows(sql, &[&name, &kind, &schedule, &params]).await.map(drop)
    }

    /// A verb of an operator, such as `pause`; returns its answer.
    pub async fn verb(&self, verb: &str, job: &str) -> Result<String> {
        self.get(&format!("SELECT sexton.{verb}($1)::text"), &[&job]).await
    }

    /// Waits until a query gives true.
    pub async fn until(
        &self,
        what: &str,
        most: Duration,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<()> {
        let deadline = Instant::now() + most;
        loop {
            let asked = Instant::now();
            let answer = self.get::<Option<bool>>(sql, params).await;
            if matches!(answer, Ok(Some(true))) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let jobs = "SELECT coalesce(string_agg(concat_ws(' ', name, sexton.why(name)), E'\\n'), '') FROM
                    (SELECT name FROM sexton.job WHERE state <> 'idle' OR due_at < now() OR NOT planned LIMIT 5) j";
                let jobs = self.get::<String>(jobs, &[]).await.unwrap_or_default();
                return Err(format!("not within {most:?}: {what} ({answer:?})\n{jobs}").into());
            }
            // A question that costs something is not asked all the time.
            tokio::time::sleep(Duration::from_millis(5) + asked.elapsed() * 3).await;
        }
    }
}

/// Opens a session; a server that is just starting is waited for.
pub async fn open(config: &Config) -> Result<Client> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match Connector::from(config.clone()).open("chaos", &[]).await {
            Ok(opened) => return Ok(opened.client),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn migrations() -> Result<Vec<(i32, String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))? {
        let path = entry?.path();
        let name =
            path.file_stem().and_then(|stem| stem.to_str()).ok_or("a migration has a name")?.to_owned();
        let version = name[1..].split_once("__").ok_or("a migration has a number")?.0.parse()?;
        found.push((version, name, std::fs::read_to_string(&path)?));
    }
    found.sort();
    Ok(found)
}
