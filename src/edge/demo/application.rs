//! The demo's database: an application with two years behind it, and what its operator asks of it in SQL.
//!
//! It is not how a program should steer Sexton (the functions of the schema `sexton` are, by way of the kernel): here
//! somebody sits at psql. What is easy to get wrong: the fingerprints must be taken after the data are complete and
//! before any replica runs.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::{
    edge::{cluster::Cluster, migrate},
    error::{Error, ErrorKind, Result},
    protocol::connect::{Connector, Opened},
};

const CREATE: &str = include_str!("../../../sql/demo/create_application.sql");
const FILL: &str = include_str!("../../../sql/demo/fill_application.sql");
const WATCH: &str = include_str!("../../../sql/demo/watch_deletions.sql");
const SCHEDULE: &str = include_str!("../../../sql/demo/schedule_jobs.sql");
const LAST_RUN: &str = include_str!("../../../sql/demo/last_run.sql");
const ALIVE: &str = include_str!("../../../sql/demo/alive.sql");
const NOW: &str = include_str!("../../../sql/demo/now.sql");

/// The application's database.
const NAME: &str = "shop";

/// The application's database, with a session to look at it.
pub(super) struct Application {
    session: Opened,
    connector: Connector,
    /// For `psql` and `DATABASE_URL`.
    pub(super) conninfo: String,
}

impl Application {
    /// Creates the database, with empty tables.
    pub(super) async fn create(cluster: &Cluster) -> Result<Application> {
        cluster.create_database(NAME).await?;
        let connector = Connector::from(cluster.config(NAME));
        let session = connector.open("sexton/demo", &[]).await?;
        session.client.batch_execute(CREATE).await?;
        Ok(Application { session, connector, conninfo: cluster.conninfo(NAME) })
    }

    /// Fills the tables, and takes fingerprints of what is in them; some 5 s.
    pub(super) async fn fill(&self) -> Result<()> {
        self.client().batch_execute(FILL).await?;
        self.client().batch_execute(WATCH).await?;
        Ok(())
    }

    /// What `sexton migrate` does.
    pub(super) async fn migrate(&self) -> Result<()> {
        migrate::run(&self.connector, &migrate::Options::default(), |_| {}).await.map(drop)
    }

    /// Writes the jobs; returns the SQL that did, without its header.
    pub(super) async fn schedule(&self) -> Result<String> {
        self.client().batch_execute(SCHEDULE).await?;
        Ok(SCHEDULE.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n"))
    }

    /// How many replicas are at work.
    pub(super) async fn alive(&self) -> Result<i64> {
        Ok(self.client().query_one(ALIVE, &[]).await?.get(0))
    }

    /// The database's clock.
    pub(super) async fn now(&self) -> Result<Timestamp> {
        Ok(self.client().query_one(NOW, &[]).await?.get(0))
    }

    /// The last run of a job, if it ran.
    pub(super) async fn last_run(&self, job: &str) -> Result<Option<Run>> {
        Ok(self.client().query_opt(LAST_RUN, &[&job]).await?.as_ref().map(Run::from))
    }

    pub(super) fn client(&self) -> &Client {
        &self.session.client
    }
}

/// A run, as `sexton.runs` shows it.
pub(super) struct Run {
    pub(super) id: Uuid,
    pub(super) occurrence: Timestamp,
    pub(super) state: String,
    pub(super) attempt: i32,
    pub(super) holder: String,
    /// Of all attempts for its occurrence.
    pub(super) rows: u64,
    pub(super) started_at: Timestamp,
    pub(super) error: Option<String>,
    pub(super) report: Value,
}

impl From<&Row> for Run {
    fn from(row: &Row) -> Self {
        Run {
            id: row.get(0),
            occurrence: row.get(1),
            state: row.get(2),
            attempt: row.get(3),
            holder: row.get(4),
            rows: row.get::<_, i64>(5).unsigned_abs(),
            started_at: row.get(6),
            error: row.get(7),
            report: row.get::<_, Option<Value>>(8).unwrap_or_default(),
        }
    }
}

impl Run {
    /// A number of its report.
    pub(super) fn reported(&self, name: &str) -> Result<u64> {
        self.report.get(name).and_then(Value::as_u64).ok_or_else(|| self.lacks(name))
    }

    /// A text of its report.
    pub(super) fn reported_text(&self, name: &str) -> Result<&str> {
        self.report.get(name).and_then(Value::as_str).ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, name: &str) -> Error {
        let message = format!("{} says nothing of {name}: {}", self.state, self.report);
        Error::new(ErrorKind::NotFound, message).about(format!("run {}", self.id))
    }
}
