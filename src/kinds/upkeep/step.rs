//! One step of an upkeep: its name, how it is carried out, what the report tells of it.
//!
//! What is easy to get wrong: CONCURRENTLY statements wait for locks without limit, so a table that an autovacuum works on is
//! passed over beforehand; else the wait would push the autovacuum aside.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    kind::{
        LockWait, RunContext, Stop, Unfenced,
        vacuum::{self, Cleaned, Cleaning},
    },
    statements,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Drops an invalid index.
    DropDebris {
        /// The index, quoted.
        index: String,
        /// Its table.
        table: u32,
    },
    /// Builds an index.
    CreateIndex {
        /// The index, schema-qualified and quoted.
        index: String,
        /// The statement.
        sql: String,
        /// Its table.
        table: u32,
    },
    /// Vacuums or analyzes a table.
    Clean {
        /// The table, quoted.
        table: String,
        /// Its oid.
        oid: u32,
        /// How.
        cleaning: Cleaning,
    },
    /// Rebuilds an index.
    Reindex {
        /// The index, quoted.
        index: String,
        /// Its table.
        table: u32,
    },
    /// Refreshes a materialized view.
    Refresh {
        /// The view, quoted.
        view: String,
    },
}

/// What became of a step.
#[must_use]
pub enum Outcome {
    /// It is done; what the report tells of it.
    Done(Value),
    /// It was passed over, for this reason.
    Skipped(String),
}

impl Step {
    /// What people read, and what the run remembers it by: the statement.
    pub fn name(&self) -> String {
        match self {
            Step::DropDebris { index, .. } => format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"),
            Step::CreateIndex { index, .. } => format!("CREATE INDEX CONCURRENTLY {index}"),
            Step::Clean { table, cleaning, .. } => format!("{} {table}", cleaning.as_sql()),
            Step::Reindex { index, .. } => format!("REINDEX INDEX CONCURRENTLY {index}"),
            Step::Refresh { view, .. } => format!("REFRESH MATERIALIZED VIEW CONCURRENTLY {view}"),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// As [`RunContext::execute_unfenced`].
    ///
    /// # Cancel safety
    /// As [`RunContext::execute_unfenced`].
    pub async fn carry_out(&self, context: &mut RunContext) -> Result<Outcome, Stop> {
        let begun = Instant::now();
        match self {
            Step::Clean { oid, cleaning, .. } => Ok(match vacuum::clean(context, *oid, *cleaning).await? {
                Cleaned::Done { before, after, took } => Outcome::Done(json!({
                    "step": self.name(), "took_ms": millis(took), "before": before, "after": after,
                })),
                Cleaned::Skipped(why) => Outcome::Skipped(why.to_owned()),
            }),
            Step::DropDebris { index, table } => {
                self.concurrently(context, *table, &self.name(), index).await
            }
            Step::CreateIndex { index, sql, table } => self.concurrently(context, *table, sql, index).await,
            Step::Reindex { index, table } => self.concurrently(context, *table, &self.name(), index).await,
            Step::Refresh { view } => {
                let before = size(context, view).await?;
                if !vacuum::patiently(context, &self.name()).await? {
                    return Ok(Outcome::Skipped(vacuum::LOCKED.to_owned()));
                }
                let after = size(context, view).await?;
                Ok(Outcome::Done(self.told(begun, before, after)))
            }
        }
    }

    /// A CONCURRENTLY statement about an index. It is measured by its name, since a rebuilt index has another oid.
    async fn concurrently(
        &self,
        context: &mut RunContext,
        table: u32,
        sql: &str,
        index: &str,
    ) -> Result<Outcome, Stop> {
        if vacuum::autovacuum_at_work(context, table).await? {
            return Ok(Outcome::Skipped(vacuum::AUTOVACUUM.to_owned()));
        }
        let begun = Instant::now();
        let before = size(context, index).await?;
        match context.execute_unfenced(sql, LockWait::Patient).await? {
            Unfenced::Done => {
                let after = size(context, index).await?;
                Ok(Outcome::Done(self.told(begun, before, after)))
            }
            Unfenced::Undone(undone) => Err(vacuum::undone(sql, undone)),
        }
    }

    fn told(&self, begun: Instant, before: Option<i64>, after: Option<i64>) -> Value {
        json!({ "step": self.name(), "took_ms": millis(begun.elapsed()),
                "before": { "bytes": before }, "after": { "bytes": after } })
    }
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of a relation; `None` if it is gone.
async fn size(context: &mut RunContext, name: &str) -> Result<Option<i64>, Stop> {
    let rows = context.query(statements::UPKEEP_SIZE, &[&name]).await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}
