//! What authors of jobs write: definitions, in one transaction for a whole file.
//!
//! It decides nothing: `edge::apply` compares and says what to do. Needs the rights of `sexton_author` alone. What is
//! easy to get wrong: what people own (pauses, arming by hand, `due_at`) is not among what is written here, save for the
//! pause of a job that is gone from its file.

use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Client, Row, Transaction, types::ToSql};

use crate::{error::Result, statements};

/// Why apply paused a job; by this it knows its own pause again.
fn removal_reason(app: &str) -> String {
    format!("gone from the file of {app}")
}

/// A definition in canonical form, with what the table knows about it beside.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: String,
    /// Column by column, durations in seconds: equal if it means the same.
    pub(crate) columns: Value,
    pub(crate) app: String,
    /// What was applied last; none if the row was made by hand.
    pub(crate) applied: Option<Value>,
    pub(crate) generation: Option<i64>,
    pub(crate) armed: bool,
    pub(crate) disarmed_by: Option<String>,
    pub(crate) removed: bool,
    pub(crate) edited_by: Option<String>,
    pub(crate) edited_at: Option<Timestamp>,
}

impl Definition {
    fn read(row: &Row) -> Self {
        Definition {
            name: row.get("name"),
            columns: row.get("definition"),
            app: row.get("app"),
            applied: row.get("applied"),
            generation: row.get("generation"),
            armed: row.get("armed"),
            disarmed_by: row.get("disarmed_by"),
            removed: row.get("removed"),
            edited_by: row.get("edited_by"),
            edited_at: row.get("edited_at"),
        }
    }
}

/// The definitions of a file and of the table, both in canonical form.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) file: Vec<Definition>,
    pub(crate) table: Vec<Definition>,
}

/// What to do with one job; each is undone by itself if the database refuses it.
pub(crate) enum Step<'a> {
    Create(Value),
    Edit(Value),
    MarkRemoved { name: &'a str, app: &'a str },
    TakeBack { name: &'a str, app: &'a str },
    Delete { name: &'a str },
}

/// A transaction that writes definitions. Dropping it rolls back.
pub(crate) struct Author<'a> {
    transaction: Transaction<'a>,
}

impl<'a> Author<'a> {
    pub(crate) async fn begin(client: &'a mut Client) -> Result<Self> {
        Ok(Author { transaction: client.transaction().await? })
    }

    /// Tries to become the only one who applies a file; whoever gets false may ask again.
    pub(crate) async fn try_lock(&self) -> Result<bool> {
        Ok(self.transaction.query_one(statements::APPLY_LOCK, &[]).await?.get(0))
    }

    /// Holds the rows of `app` and reads them, with `file` beside them: a JSON array of definitions.
    pub(crate) async fn read(&self, app: &str, file: &Value) -> Result<Definitions> {
        self.transaction.execute(statements::HOLD_DEFINITIONS, &[&app]).await?;
        let mut found = Definitions::default();
        for row in self.transaction.query(statements::READ_DEFINITIONS, &[&app, file]).await? {
            let side = if row.get("in_file") { &mut found.file } else { &mut found.table };
            side.push(Definition::read(&row));
        }
        Ok(found)
    }

    /// Takes a step, or leaves all as it was.
    ///
    /// # Errors
    /// As the database said it: the caller knows where in the file the fault lies.
    pub(crate) async fn take(&mut self, step: Step<'_>) -> Result<(), tokio_postgres::Error> {
        match step {
            Step::Create(definition) => self.write(statements::CREATE_JOB, &[&definition]).await,
            Step::Edit(definition) => self.write(statements::EDIT_JOB, &[&definition]).await,
            Step::MarkRemoved { name, app } => {
                self.write(statements::MARK_REMOVED, &[&name, &removal_reason(app)]).await
            }
            Step::TakeBack { name, app } => {
                self.write(statements::TAKE_BACK, &[&name, &removal_reason(app)]).await
            }
            Step::Delete { name } => self.write(statements::DELETE_JOB, &[&name]).await,
        }
    }

    async fn write(
        &mut self,
        statement: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<(), tokio_postgres::Error> {
        let savepoint = self.transaction.savepoint("job").await?;
        match savepoint.execute(statement, params).await {
            Ok(_) => savepoint.commit().await,
            Err(error) => {
                savepoint.rollback().await?;
                Err(error)
            }
        }
    }

    /// Remembers what was applied (none: leaves that) and the generation.
    pub(crate) async fn note_applied(
        &self,
        name: &str,
        applied: Option<&Value>,
        generation: Option<i64>,
    ) -> Result<()> {
        self.transaction.execute(statements::NOTE_APPLIED, &[&name, &applied, &generation]).await?;
        Ok(())
    }

    /// Arms a job that the file wants armed; false: a person disarmed it, which stays.
    pub(crate) async fn arm(&self, name: &str) -> Result<bool> {
        Ok(self.transaction.query_one(statements::ARM_APPLIED, &[&name]).await?.get(0))
    }

    /// Makes an `at deploy` job due if this deployment is new to it; says whether it did.
    pub(crate) async fn deployed(&self, name: &str, deployment: &str) -> Result<bool> {
        Ok(self.transaction.query_one(statements::DEPLOYED, &[&name, &deployment]).await?.get(0))
    }

    /// Makes it so.
    pub(crate) async fn commit(self) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }

    /// Undoes all of it.
    pub(crate) async fn roll_back(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }
}
