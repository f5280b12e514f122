//! The command line as a process against a real database: exit codes, answers, JSON, and that verbs mean in SQL what
//! they mean here.

mod file;
mod runs;
mod usage;
mod verbs;

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::empty_database;

/// A database of the test's own.
struct Database {
    dsn: String,
    client: Client,
}

impl Database {
    async fn empty() -> Self {
        let (client, dsn) = empty_database().await;
        Database { dsn, client }
    }

    /// With the schema, a table, and two purges of it.
    async fn with_jobs() -> Self {
        let database = Self::empty().await;
        database.sexton(&["migrate", "--no-roles"]).done();
        let script = "CREATE TABLE audit_log (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL);
             SELECT sexton.schedule_purge('audit_log', 'created_at', '30 days', name => 'audit-logs');
             SELECT sexton.schedule_purge('audit_log', 'created_at', '1 day', 'every 15m', name => 'sessions')";
        database.client.batch_execute(script).await.expect("the jobs can be written");
        database
    }

    /// Rows of which three of four are older than 30 days.
    async fn fill(&self) {
        let script = "INSERT INTO audit_log (created_at) SELECT now() - make_interval(days => d)
                      FROM unnest(ARRAY[1, 40, 50, 60]) d; ANALYZE audit_log";
        self.client.batch_execute(script).await.expect("it can be filled");
    }

    async fn rows(&self) -> i64 {
        let row = self.client.query_one("SELECT count(*) FROM audit_log", &[]).await;
        row.expect("rows can be counted").get(0)
    }

    /// Waits until this query says true.
    async fn until(&self, question: &str) {
        for _ in 0..600 {
            let row = self.client.query_one(question, &[]).await.expect("it can be asked");
            if row.get::<_, Option<bool>>(0) == Some(true) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("never came true: {question}");
    }

    fn sexton(&self, args: &[&str]) -> Ended {
        sexton(&[&["--database", &self.dsn], args].concat())
    }
}

/// How the program ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    #[track_caller]
    fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Ended with this code, one line of error that has this text, and a remedy.
    #[track_caller]
    fn failed(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        let error = self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains(text), "{self:?}");
        assert!(self.stderr.lines().any(|line| line.starts_with("help: ")), "{self:?}");
        assert!(!self.stderr.contains('\u{1b}'), "colored into a pipe: {self:?}");
    }
}

fn sexton(args: &[&str]) -> Ended {
    let mut command = cargo_bin_cmd!("sexton");
    for name in
        ["DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "SEXTON_LOG", "RUST_LOG"]
    {
        command.env_remove(name);
    }
    let output = command.args(args).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
