//! A database with a table and one purge job, `j`, for each test of the purge.

use serde_json::{Value, json};
use sexton::{
    Registry,
    testing::{Occurrence, Ran},
};

use crate::support::Db;

/// A database with a table and a job.
pub struct World(pub Db);

impl World {
    /// A database in which `sql` was run.
    pub async fn new(sql: &str) -> World {
        let db = Db::new().await;
        db.execute(sql).await;
        World(db)
    }

    /// Saves the job `j`, and arms it.
    pub async fn job(&self, params: Value) {
        self.unarmed_job(params, json!({})).await;
        self.0.verb("arm", "j").await;
    }

    /// Saves the job `j`.
    pub async fn unarmed_job(&self, params: Value, inputs: Value) {
        let sql = "INSERT INTO sexton.job (name, kind, params, inputs) VALUES ('j', 'purge', $1, $2)
                   ON CONFLICT (name) DO UPDATE SET params = excluded.params, inputs = excluded.inputs";
        self.0.client.execute(sql, &[&params, &inputs]).await.unwrap();
    }

    /// One occurrence of the job `j`.
    pub fn occurrence(&self) -> Occurrence {
        Occurrence::of("j", self.0.config.clone()).registry(Registry::with_builtins())
    }

    /// Runs the job `j` once.
    pub async fn run(&self) -> Ran {
        self.occurrence().run().await.unwrap()
    }

    /// Runs the job `j` once, which must succeed.
    pub async fn succeed(&self) -> Ran {
        let ran = self.run().await;
        assert_eq!((ran.state.as_str(), ran.error.as_deref()), ("succeeded", None), "{:?}", ran.report);
        ran
    }

    /// Runs the job `j` once, which must be refused and delete nothing; gives reason and remedy.
    pub async fn refused(&self) -> String {
        let ran = self.run().await;
        assert_eq!((ran.state.as_str(), ran.rows), ("refused", 0), "{:?} {:?}", ran.error, ran.report);
        ran.error.unwrap_or_default()
    }

    /// The number that a query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        self.0.get(sql, &[]).await
    }
}

/// A detail of a report.
pub fn detail<'a>(ran: &'a Ran, path: &str) -> &'a Value {
    static NULL: Value = Value::Null;
    ran.report.as_ref().and_then(|report| report.pointer(path)).unwrap_or(&NULL)
}
