//! What people may do and ask, as Rust functions: each is one function or view of the schema `sexton`, no more.
//!
//! The command line goes through here, and an embedding application may. Every verb answers with a sentence, which
//! the database made: whoever calls the same function in psql reads the same. What is easy to get wrong: this needs
//! no session of its own kind. It holds nothing, sets nothing, and so works behind a transaction pooler too.

mod ask;
mod definition;
mod notices;
mod refused;
mod rows;
mod submit;

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use super::connect::{Connector, Opened};
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

pub use definition::JobDefinition;
pub use notices::{ChannelRow, NoticeRow};
pub use rows::{DueRow, HoldRow, JobRow, RequestedRow, ResourceRow, RunRow, RunningRow, ScheduleRow};
pub use submit::OneOff;

/// A session of a person.
pub struct Operator {
    client: Client,
    // Kept, for the connection's task stops when nobody listens any more; its content does not matter here.
    _messages: tokio::sync::mpsc::UnboundedReceiver<tokio_postgres::AsyncMessage>,
}

impl Operator {
    /// Opens a session, and looks whether the schema `sexton` is there.
    ///
    /// # Errors
    /// As [`Connector::open`]; [`ErrorKind::Schema`] if there is no such schema.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(connector: &Connector) -> Result<Self> {
        let Opened { client, messages, .. } = connector.open("sexton/cli", &[]).await?;
        let operator = Operator { client, _messages: messages };
        if operator.row(statements::SERVER, &[]).await?.get(2) {
            return Ok(operator);
        }
        Err(refused::no_schema("the database has no schema sexton"))
    }

    /// Nothing of the job starts, and no further batch commits; until then, or until [`Operator::resume`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown job, [`ErrorKind::Invalid`] for an instant that has passed,
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was done, as with every verb here.
    pub async fn pause(&self, job: &str, reason: Option<&str>, until: Option<Timestamp>) -> Result<String> {
        self.verb(
            statements::PAUSE,
            &[(&job, Type::TEXT), (&reason, Type::TEXT), (&until, Type::TIMESTAMPTZ)],
        )
        .await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn resume(&self, job: &str) -> Result<String> {
        self.verb(statements::RESUME, &[(&job, Type::TEXT)]).await
    }

    /// Halts everything destructive.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn pause_all(&self, reason: Option<&str>) -> Result<String> {
        self.verb(statements::PAUSE_ALL, &[(&reason, Type::TEXT)]).await
    }

    /// Ends that.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn resume_all(&self) -> Result<String> {
        self.verb(statements::RESUME_ALL, &[]).await
    }

    /// Lets a destructive job delete, in its present revision; one run of it past the guards, if rows are approved.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`]; [`ErrorKind::Refused`] if the job is invalid.
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn arm(&self, job: &str, approve: Option<u64>) -> Result<String> {
        let approve = approve.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        self.verb(statements::ARM, &[(&job, Type::TEXT), (&approve, Type::INT8)]).await
    }

    /// From now on the job only reports.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn disarm(&self, job: &str) -> Result<String> {
        self.verb(statements::DISARM, &[(&job, Type::TEXT)]).await
    }

    /// Ends the present run as cancelled, or drops a pending retry.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`]; [`ErrorKind::Refused`] if there is nothing to cancel.
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn cancel(&self, job: &str) -> Result<String> {
        self.verb(statements::CANCEL, &[(&job, Type::TEXT)]).await
    }

    /// Takes the job from its holder; when this returns, nothing of the old run can commit. The backend that held it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`]; [`ErrorKind::Refused`] if it is not running.
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn kill(&self, job: &str) -> Result<i32> {
        Ok(self.row(statements::KILL, &[(&job, Type::TEXT)]).await?.get(0))
    }

    /// Ends the session of the job's last holder, if that still holds the job's lock; whether it did.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn terminate_holder(&self, job: &str) -> Result<bool> {
        Ok(self.row(statements::TERMINATE_HOLDER, &[(&job, Type::TEXT)]).await?.get(0))
    }

    /// An extra occurrence, due now. Both are objects: options are those of [`Options`](crate::kind::Options), inputs
    /// those that the job declares.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Denied`]; [`ErrorKind::Invalid`] for inputs that the job does not declare;
    /// [`ErrorKind::Refused`] if the job is paused or invalid.
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn run_now(&self, job: &str, options: &Value, inputs: &Value) -> Result<String> {
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&job, Type::TEXT), (options, Type::JSONB), (inputs, Type::JSONB)];
        self.verb(statements::RUN_NOW, &params).await
    }

    /// As [`Operator::run_now`], for who waits for the run: also tells what was made due, as it is before any replica
    /// can take it.
    ///
    /// # Errors
    /// As [`Operator::run_now`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`]; the session may be left in a transaction, so drop it too.
    pub async fn request(&self, job: &str, options: &Value, inputs: &Value) -> Result<RequestedRow> {
        let params: [(&(dyn ToSql + Sync), Type); 3] =
            [(&job, Type::TEXT), (options, Type::JSONB), (inputs, Type::JSONB)];
        self.client.batch_execute("BEGIN").await?;
        let asked = match self.client.query_typed(statements::RUN_NOW, &params).await {
            Ok(_) => self.client.query_typed(statements::REQUESTED, &[(&job, Type::TEXT)]).await,
            Err(error) => Err(error),
        };
        self.client.batch_execute(if asked.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        match asked {
            Ok(rows) if !rows.is_empty() => Ok(RequestedRow::from(&rows[0])),
            Ok(_) => Err(self.unknown_job(job).await),
            Err(error) if refused::is_unknown_job(&error) => Err(self.unknown_job(job).await),
            Err(error) => Err(refused::explained(error)),
        }
    }

    /// Keeps the rows of a table for which the predicate is true from every purge; when this returns, no batch commits
    /// that would delete one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a table that is not there, or what is no predicate over it; [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn hold(
        &self,
        table: &str,
        predicate: &str,
        reason: &str,
        database: Option<&str>,
    ) -> Result<String> {
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&table, Type::TEXT), (&predicate, Type::TEXT), (&reason, Type::TEXT), (&database, Type::TEXT)];
        self.verb(statements::HOLD, &params).await
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if there is none of that id in force, [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn unhold(&self, id: i64) -> Result<String> {
        self.verb(statements::UNHOLD, &[(&id, Type::INT8)]).await
    }

    /// The holds that concern a purge; none for other kinds.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn holds(&self, job: &str) -> Result<Vec<HoldRow>> {
        self.list(statements::HOLDS, &[(&job, Type::TEXT)]).await
    }

    /// Says that this restored or cloned database shall be maintained.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn adopt(&self) -> Result<String> {
        self.verb(statements::ADOPT, &[]).await
    }

    /// Says that there is no such job, and which name was perhaps meant.
    async fn unknown_job(&self, name: &str) -> Error {
        match self.job_names().await {
            Ok(names) => refused::unknown_job(name, &names),
            Err(error) => error,
        }
    }

    async fn verb(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<String> {
        Ok(self.row(sql, params).await?.get(0))
    }

    async fn list<T>(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<T>>
    where
        T: for<'a> From<&'a Row>,
    {
        Ok(self.rows(sql, params).await?.iter().map(T::from).collect())
    }

    async fn row(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row> {
        let rows = self.rows(sql, params).await?;
        rows.into_iter().next().ok_or_else(|| Error::new(ErrorKind::Database, "the database gave no answer"))
    }

    /// By unnamed statements, in one round trip.
    async fn rows(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        match self.client.query_typed(sql, params).await {
            Ok(rows) => Ok(rows),
            Err(error) if refused::is_unknown_job(&error) => {
                Err(self.named_better(refused::explained(error)).await)
            }
            Err(error) => Err(refused::explained(error)),
        }
    }

    /// The database lists the jobs that there are; which one was meant is for us to guess.
    async fn named_better(&self, error: Error) -> Error {
        let names = self.client.query_typed(statements::JOB_NAMES, &[]).await.unwrap_or_default();
        let names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
        refused::with_guess(error, &names)
    }
}
