//! A test's own database, jobs in it, and waiting for what becomes of them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use sexton::protocol::connect::Connector;
use tokio::time::Instant;
use tokio_postgres::{
    Client, Config,
    types::{FromSqlOwned, ToSql},
};

use super::server::{Server, server};

/// The most that anything in these tests may take. Reaching it is a failure; passing tests take milliseconds.
pub(super) const CAP: Duration = Duration::from_secs(30);

/// A database with the schema and the application's tables, and a session to it as superuser.
pub struct Db {
    pub config: Config,
    pub conninfo: String,
    pub client: Client,
}

impl Db {
    /// A new one on the server that all tests share.
    pub async fn new() -> Db {
        Self::on(server()).await
    }

    /// A new one on this server.
    pub async fn on(server: &Server) -> Db {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server.copy(&name).await;
        let config = server.config(&name);
        Db { client: open(&config, "test").await, config, conninfo: server.conninfo(&name) }
    }

    /// One more session, as superuser.
    pub async fn session(&self) -> Client {
        open(&self.config, "test").await
    }

    /// A session as somebody else, who may log in without a password.
    pub async fn session_as(&self, user: &str) -> Client {
        let mut config = self.config.clone();
        config.user(user);
        open(&config, "test").await
    }

    /// Executes statements.
    pub async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one value that a query gives.
    pub async fn get<T: FromSqlOwned>(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> T {
        let row = self.client.query_one(sql, params).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// What a column, or an expression over columns, of a job is now.
    pub async fn job<T: FromSqlOwned>(&self, name: &str, expression: &str) -> T {
        self.get(&format!("SELECT {expression} FROM sexton.job WHERE name = $1"), &[&name]).await
    }

    /// The same of the job's last run.
    pub async fn last_run<T: FromSqlOwned>(&self, name: &str, expression: &str) -> T {
        let sql = format!(
            "SELECT {expression} FROM sexton.run WHERE job_name = $1 ORDER BY epoch DESC, version DESC LIMIT 1"
        );
        self.get(&sql, &[&name]).await
    }

    /// The states of the job's runs, in their order: `lost succeeded`.
    pub async fn outcomes(&self, name: &str) -> String {
        let sql = "SELECT coalesce(string_agg(state, ' ' ORDER BY epoch, version), '') FROM sexton.run WHERE job_name = $1";
        self.get(sql, &[&name]).await
    }

    /// The steps that took effect, in their order: `1 2 3`.
    pub async fn steps(&self, name: &str) -> String {
        let sql =
            "SELECT coalesce(string_agg(step::text, ' ' ORDER BY id), '') FROM public.ledger WHERE job = $1";
        self.get(sql, &[&name]).await
    }

    /// A verb of an operator, such as `pause`; returns its answer.
    pub async fn verb(&self, verb: &str, job: &str) -> String {
        self.get(&format!("SELECT sexton.{verb}($1)::text"), &[&job]).await
    }

    /// The events of the notices about a job, in their order.
    pub async fn notices(&self, name: &str) -> String {
        let sql =
            "SELECT coalesce(string_agg(event, ' ' ORDER BY id), '') FROM sexton.notice WHERE job_name = $1";
        self.get(sql, &[&name]).await
    }

    /// Puts other text in place of a part of a function, which must have it once: the control of a claim of safety.
    pub async fn patch(&self, function: &str, old: &str, new: &str) {
        let source: String = self.get("SELECT pg_get_functiondef($1::text::regproc)", &[&function]).await;
        assert_eq!(source.matches(old).count(), 1, "{function} has {old}");
        self.execute(&source.replace(old, new)).await;
    }

    /// Opens a gate of the kind `steps`.
    pub async fn open_gate(&self, name: &str) {
        self.client.execute("INSERT INTO public.gate VALUES ($1)", &[&name]).await.unwrap();
    }

    /// Inserts a manual job of the kind `steps`.
    pub async fn steps_job(&self, name: &str, params: Value) {
        self.insert(name, "steps", "manual", params).await;
    }

    /// Inserts a job.
    pub async fn insert(&self, name: &str, kind: &str, schedule: &str, params: Value) {
        let sql = "INSERT INTO sexton.job (name, kind, schedule, params) VALUES ($1, $2, $3, $4)";
        self.client.execute(sql, &[&name, &kind, &schedule, &params]).await.unwrap();
    }

    /// Inserts a manual job that is due, as a replica would have validated and planned it.
    pub async fn due_job(&self, name: &str, kind: &str, params: Value) {
        self.insert(name, kind, "manual", params).await;
        self.planned(name).await;
        self.verb("run_now", name).await;
    }

    /// The same for a job of the kind `steps` for claims by hand, whose params do not matter.
    pub async fn due(&self, name: &str) {
        self.due_job(name, "steps", json!({})).await;
    }

    /// Does for a manual job what a replica does first, unless one was quicker.
    pub async fn planned(&self, name: &str) {
        let sql = "SELECT sexton.plan(id, revision, schedule, time_zone, NULL, NULL, 0) FROM sexton.job WHERE name = $1";
        self.client.execute(sql, &[&name]).await.unwrap();
        assert!(
            self.job::<bool>(name, "planned AND validated_revision = revision").await,
            "{name} is planned"
        );
    }

    /// Lets a job that was found due by a clock be due as if that much more time had passed, and hints at it.
    pub async fn set_back(&self, name: &str, interval: &str) {
        let sql = format!(
            "UPDATE sexton.job SET scheduled_at = scheduled_at - interval '{interval}',
                occurrence = occurrence - interval '{interval}', due_at = due_at - interval '{interval}'
             WHERE name = $1 AND state = 'idle' AND planned"
        );
        assert_eq!(self.client.execute(&sql, &[&name]).await.unwrap(), 1, "{name} is idle and planned");
        self.execute("NOTIFY sexton").await;
    }

    /// Waits until a query gives true; fails with how all jobs and runs stand.
    pub async fn until(&self, what: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) {
        let deadline = Instant::now() + CAP;
        while !self.get::<Option<bool>>(sql, params).await.unwrap_or(false) {
            assert!(Instant::now() < deadline, "not within {CAP:?}: {what}\n{}", self.status().await);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Waits until an expression over the columns of a job is true.
    pub async fn until_job(&self, name: &str, expression: &str) {
        let sql = format!("SELECT {expression} FROM sexton.job WHERE name = $1");
        self.until(&format!("{name}: {expression}"), &sql, &[&name]).await;
    }

    /// Waits until the states of the job's runs are these.
    pub async fn until_outcomes(&self, name: &str, states: &str) {
        let sql =
            "SELECT string_agg(state, ' ' ORDER BY epoch, version) = $2 FROM sexton.run WHERE job_name = $1";
        self.until(&format!("{name}: {states}"), sql, &[&name, &states]).await;
    }

    /// Waits until that many steps of the job took effect.
    pub async fn until_steps(&self, name: &str, count: i64) {
        let sql = "SELECT count(*) >= $2 FROM public.ledger WHERE job = $1";
        self.until(&format!("{name}: {count} steps"), sql, &[&name, &count]).await;
    }

    /// Effects equal recorded progress: for each run as many rows in the ledger as batches, each step of an occurrence
    /// once, no older run behind a newer one.
    pub async fn assert_exact(&self) {
        let recorded = "SELECT coalesce(bool_and((SELECT coalesce(sum(p.seq), 0) FROM sexton.run_part p WHERE p.run_id = r.id)
                           = (SELECT count(*) FROM public.ledger l WHERE l.run_id = r.id AND l.version = r.version)), true)
                        FROM sexton.run r";
        assert!(self.get::<bool>(recorded, &[]).await, "the ledger is what the runs recorded");
        let once = "SELECT count(*) = count(DISTINCT (job, occurrence, step)) FROM public.ledger";
        assert!(self.get::<bool>(once, &[]).await, "no step took effect twice");
        let order = "SELECT coalesce(bool_and(ordered), true) FROM (SELECT version >= lag(version) OVER (PARTITION BY job ORDER BY id) AS ordered FROM public.ledger) v";
        assert!(self.get::<bool>(order, &[]).await, "no older run wrote behind a newer one");
    }

    async fn status(&self) -> String {
        let sql = "SELECT concat_ws(E'\\n',
            (SELECT string_agg(sexton.why(name) || ' ' || to_jsonb(j)::text, E'\\n') FROM (SELECT * FROM sexton.job ORDER BY id LIMIT 5) j),
            (SELECT string_agg(to_jsonb(r)::text, E'\\n') FROM (SELECT * FROM sexton.run ORDER BY started_at DESC LIMIT 10) r))";
        self.get(sql, &[]).await
    }
}

/// A new database with nothing in it, not even the schema: a session to it as superuser, and how others connect.
pub async fn empty_database() -> (Client, String) {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let name = format!("empty_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server().create(&name).await;
    (open(&server().config(&name), "test").await, server().conninfo(&name))
}

/// A session.
pub(super) async fn open(config: &Config, name: &str) -> Client {
    Connector::from(config.clone()).open(name, &[]).await.unwrap().client
}
