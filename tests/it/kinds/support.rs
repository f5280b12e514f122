//! One occurrence of a job with the built-in kinds, and what it says.

use serde_json::Value;
use sexton::{
    Registry,
    testing::{Occurrence, Ran},
};
use tokio_postgres::Config;

use crate::support::Db;

impl Db {
    /// Inserts a manual job.
    pub async fn insert_manual(&self, name: &str, kind: &str, params: Value) {
        self.insert(name, kind, "manual", params).await;
    }

    /// Where to connect as somebody else, who may log in without a password.
    pub fn config_of(&self, user: &str) -> Config {
        let mut config = self.config.clone();
        config.user(user);
        config
    }

    /// One occurrence of a job, with the built-in kinds, as superuser.
    pub fn occurrence(&self, job: &str) -> Occurrence {
        Occurrence::of(job, self.config.clone()).registry(Registry::with_builtins())
    }

    /// One occurrence by a replica that logs in as somebody else.
    pub fn occurrence_as(&self, job: &str, user: &str) -> Occurrence {
        Occurrence::of(job, self.config_of(user)).registry(Registry::with_builtins())
    }

    /// Runs one occurrence of a job.
    pub async fn run(&self, job: &str) -> Ran {
        self.occurrence(job).run().await.unwrap_or_else(|error| panic!("{job}: {error:?}"))
    }
}

/// A detail of a report.
pub fn detail<'a>(ran: &'a Ran, name: &str) -> &'a Value {
    let report = ran.report.as_ref().unwrap_or_else(|| panic!("no report: {ran:?}"));
    report.get(name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

/// What a run that did not succeed says.
pub fn error(ran: &Ran) -> &str {
    ran.error.as_deref().unwrap_or_else(|| panic!("no error: {ran:?}"))
}
