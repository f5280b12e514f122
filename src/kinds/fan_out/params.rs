//! The parameters of a fan-out: a closed set, each documented once in [`TABLE`].

use serde::Deserialize;

use crate::{
    kind::{Param, ParamError, check},
    outside::secrets::is_name,
};

/// What a job of kind `fan_out` is told. See [`TABLE`] for what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What yields the rows.
    pub query: String,
    /// The job that each is submitted to.
    pub job: String,
    /// The column that names a row.
    pub key: String,
    /// Rows a batch.
    #[serde(default = "five_hundred")]
    pub batch: u32,
    /// How many one-offs may be pending.
    #[serde(default = "ten_thousand")]
    pub max_pending: u32,
    /// Whether the run waits until all are done.
    #[serde(default)]
    pub wait: bool,
}

fn five_hundred() -> u32 {
    500
}

fn ten_thousand() -> u32 {
    10_000
}

/// A job of this kind, with the one that it submits to, as a file has them.
pub const EXAMPLE: &str = r#"[jobs.expire-all]
schedule = "daily 03:00"

[jobs.expire-all.fan_out]
query = "SELECT id AS tenant FROM tenant WHERE closed_at IS NULL"
key = "tenant"
job = "expire-tenant"

[jobs.expire-tenant]
inputs = { tenant = "bigint" }
max_running = 8

[jobs.expire-tenant.sql]
statement = "UPDATE session SET ended_at = now() WHERE tenant_id = :tenant AND ended_at IS NULL"
"#;

/// The table of parameters.
pub const TABLE: &[Param] = &[
    Param {
        name: "query",
        takes: "SQL query",
        default: "none: it must be given",
        help: "What yields the rows: one column for each input of `job`, by its name, and the key; `:name` stands for an input of this job.",
    },
    Param {
        name: "job",
        takes: "job name",
        default: "none: it must be given",
        help: "The job, with schedule \"manual\", that each row becomes a one-off of.",
    },
    Param {
        name: "key",
        takes: "column of the query",
        default: "none: it must be given",
        help: "What names a row: rows are submitted in its order, and one whose key is pending already is not submitted again.",
    },
    Param {
        name: "batch",
        takes: "rows",
        default: "500",
        help: "Rows submitted in one fenced transaction, from 1 to 10,000.",
    },
    Param {
        name: "max_pending",
        takes: "one-offs",
        default: "10000",
        help: "Waits before a batch while so many one-offs of `job`, whoever submitted them, are not done: from 1 to 1,000,000.",
    },
    Param {
        name: "wait",
        takes: "true or false",
        default: "false",
        help: "Whether the run goes on, within the job's `timeout`, until all that this job submitted are done.",
    },
];

impl Params {
    /// Ranges, and whether the query is well formed.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub fn check(&self) -> Result<(), ParamError> {
        let wrong = |path: &str, message: String| Err(ParamError::new(path, message));
        if !(1..=10_000).contains(&self.batch) {
            return wrong("batch", format!("takes 1 to 10000 rows, not {}", self.batch));
        }
        if !(1..=1_000_000).contains(&self.max_pending) {
            return wrong("max_pending", format!("takes 1 to 1000000 one-offs, not {}", self.max_pending));
        }
        check::sql("query", &self.query)?;
        check::text("key", &self.key)?;
        if !is_name(&self.job) {
            return wrong("job", format!("\"{}\" cannot be the name of a job", self.job));
        }
        if self.query.trim_end().ends_with(';') {
            return wrong("query", "takes one query, without the semicolon at its end".to_owned());
        }
        Ok(())
    }
}
