//! One-offs of manual jobs, submitted by an application in a transaction of its own; and who holds which resource.
//!
//! What is easy to get wrong: what counts is the caller's commit. Before it no replica sees the one-off; if the transaction
//! rolls back there never was one. So pass the transaction that writes what the one-off is about.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_postgres::{GenericClient, types::Type};

use super::{Operator, ResourceRow, refused};
use crate::{
    error::{ErrorKind, Result},
    statements,
};

/// One run of a manual job with inputs of its own.
///
/// ```no_run
/// use sexton::OneOff;
///
/// # async fn example(client: &mut tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let transaction = client.transaction().await?;
/// transaction.execute("UPDATE tenant SET closed_at = now() WHERE id = 7", &[]).await?;
/// OneOff::of("erase-tenant").input("tenant", 7).key("tenant 7").submit(&transaction).await?;
/// transaction.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct OneOff {
    job: String,
    inputs: Value,
    due_at: Option<Timestamp>,
    key: Option<String>,
}

impl OneOff {
    /// Of this job, whose schedule is `manual`; without inputs, due at once, without a key.
    pub fn of(job: impl Into<String>) -> Self {
        OneOff { job: job.into(), inputs: json!({}), due_at: None, key: None }
    }

    /// The value of an input that the job declares.
    pub fn input(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inputs[name] = value.into();
        self
    }

    /// The values of all inputs: an object.
    pub fn inputs(mut self, inputs: Value) -> Self {
        self.inputs = inputs;
        self
    }

    /// Not before then, by the database's clock. Default: at once.
    pub fn due_at(mut self, instant: Timestamp) -> Self {
        self.due_at = Some(instant);
        self
    }

    /// While one with this key is pending, this is that one. Default: none, each is one more.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Submits it, as part of the transaction; answers with a sentence that begins with its name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown job,
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for inputs that are not those which the job declares,
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) if the job has a schedule or is invalid,
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied). The transaction is then as good as rolled back, as after any error.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was submitted: roll back.
    pub async fn submit(&self, transaction: &impl GenericClient) -> Result<String> {
        let row = transaction
            .query_one(statements::SUBMIT, &[&self.job, &self.inputs, &self.due_at, &self.key])
            .await
            .map_err(refused::explained)?;
        Ok(row.get(0))
    }
}

impl Operator {
    /// One run of a manual job, by itself; in a transaction of one's own: [`OneOff::submit`].
    ///
    /// # Errors
    /// As [`OneOff::submit`].
    ///
    /// # Cancel safety
    /// As [`Operator::pause`].
    pub async fn submit(&self, one_off: &OneOff) -> Result<String> {
        match one_off.submit(&self.client).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.named_better(error).await),
            answer => answer,
        }
    }

    /// Which resources are held, and who waits; one, or all.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn resources(&self, name: Option<&str>) -> Result<Vec<ResourceRow>> {
        self.list(statements::RESOURCES, &[(&name, Type::TEXT)]).await
    }
}
