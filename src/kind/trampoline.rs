//! An author's statement on its way to the server: in a function with the rights of the job's role.
//!
//! What is easy to get wrong: `SET ROLE` is no sandbox, since the statement may `RESET ROLE` (measured on the prototype).
//! The function belongs to the role, is SECURITY DEFINER, and stands in the session's own temporary schema, so that
//! nobody else can replace it; it is made anew for each execution, since the statement itself could.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Row;

use super::{
    FencedTransaction, RunContext, Stop,
    inputs::{self, Piece},
    sql::{Quoted, is_about_the_text},
};
use crate::{
    error::{Error, ErrorKind},
    statements,
};

/// How long a kept row may be, as text.
const WIDTH: i32 = 2000;
/// How long a plan may be, as text.
const PLAN_WIDTH: i32 = 1_000_000;

/// Executes the statement: its text, the values of its inputs, how many rows are kept (NULL if it gives none), how long one
/// may be. Not in `sql/`, whose files the server must understand at any time: here the function must exist.
const CALL: &str = "SELECT counted, kept FROM pg_temp.sexton_statement($1, $2, $3, $4)";

/// What the statement answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Rows given or affected.
    pub counted: u64,
    /// The first of the rows, an array; empty if it gives none.
    pub kept: Value,
}

/// A column that a statement gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as SQL names it.
    pub type_name: Quoted,
}

/// A statement that the server has parsed, the values of its inputs, and the role that it runs as.
pub struct Trampoline {
    param: &'static str,
    text: String,
    inputs: Vec<Option<String>>,
    columns: Vec<Column>,
    role: String,
    /// `SET LOCAL ROLE …`, where that is not the session's own.
    become_role: Option<String>,
}

impl Trampoline {
    /// Has the server judge the statement and the rights.
    ///
    /// # Errors
    /// [`Stop::Refused`] with what is in the way, and the statement that removes it.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn prepare(
        context: &mut RunContext,
        param: &'static str,
        statement: &str,
    ) -> Result<Self, Stop> {
        let (role, become_role) = rights(context).await?;
        let (text, inputs) = bound(context, param, statement)?;
        let described = match context.describe(&text).await {
            Err(Stop::Failed(error)) if is_about_the_text(&error) => {
                let hint = error.remedy().map(str::to_owned).unwrap_or_else(|| "edit the job".to_owned());
                return Err(Stop::refused(format!("params.{param}: {error}"), hint));
            }
            answer => answer.map_err(|stop| explain(stop, param))?,
        };
        let column = |column: &tokio_postgres::Column| {
            let [schema, name] = [column.type_().schema(), column.type_().name()].map(Quoted::name);
            let type_name = Quoted::by_server(format!("{}.{}", schema.as_str(), name.as_str()));
            Column { name: column.name().to_owned(), type_name }
        };
        let columns = described.columns().iter().map(column).collect();
        Ok(Trampoline { param, text, inputs, columns, role, become_role })
    }

    /// Its text, with its inputs as elements of the one array `$1`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many inputs that array has.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// What it gives.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The role that the statement runs as.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Whether that is another than the session's own.
    pub fn is_foreign(&self) -> bool {
        self.become_role.is_some()
    }

    /// Whether the statement gives rows.
    pub fn gives_rows(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Makes the function in this transaction, and sets how long the statement may take, and wait for locks.
    ///
    /// # Errors
    /// [`Stop::Refused`] if the right to it is missing.
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn install(
        &self,
        transaction: &mut FencedTransaction<'_>,
        timeouts: [Duration; 2],
    ) -> Result<(), Stop> {
        let [statement, lock] = timeouts.map(|limit| limit.as_millis().max(1).to_string());
        transaction.query(statements::SQL_LIMITS, &[&statement, &lock]).await?;
        if let Some(become_role) = &self.become_role {
            transaction.execute(become_role, &[]).await.map_err(|stop| self.missing_right(stop))?;
        }
        transaction
            .execute(statements::SQL_TRAMPOLINE, &[])
            .await
            .map_err(|stop| self.missing_right(stop))?;
        if self.become_role.is_some() {
            transaction.execute(statements::RESET_ROLE, &[]).await?;
        }
        Ok(())
    }

    /// Executes the statement.
    ///
    /// # Errors
    /// Whatever the database reports.
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn call(&self, transaction: &mut FencedTransaction<'_>, keep: u32) -> Result<Answer, Stop> {
        let keep = self.gives_rows().then(|| i32::try_from(keep).unwrap_or(i32::MAX));
        self.call_text(transaction, &self.text, &[], keep, WIDTH).await
    }

    /// The planner's view of the statement, as the JSON of EXPLAIN; it is not executed.
    ///
    /// # Errors
    /// Whatever the database reports.
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn explain(&self, transaction: &mut FencedTransaction<'_>) -> Result<Value, Stop> {
        let text = format!("EXPLAIN (FORMAT JSON) {}", self.text);
        let answer = self.call_text(transaction, &text, &[], Some(1), PLAN_WIDTH).await?;
        Ok(answer.kept.pointer("/0/QUERY PLAN/0/Plan").cloned().unwrap_or(Value::Null))
    }

    /// Executes a statement around it, with `more` behind its inputs; keeps at most that many rows.
    ///
    /// # Errors
    /// Whatever the database reports; [`Stop::Refused`] for a row of more than a million characters.
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn call_around(
        &self,
        transaction: &mut FencedTransaction<'_>,
        text: &str,
        more: &[Option<String>],
        most: u32,
    ) -> Result<Vec<Value>, Stop> {
        let keep = Some(i32::try_from(most).unwrap_or(i32::MAX));
        let answer = self.call_text(transaction, text, more, keep, PLAN_WIDTH).await?;
        let rows = answer.kept.as_array().cloned().unwrap_or_default();
        if rows.iter().all(Value::is_object) {
            return Ok(rows);
        }
        let reason = format!("params.{}: a row is longer than a million characters", self.param);
        Err(Stop::refused(reason, "select no more columns than are wanted"))
    }

    async fn call_text(
        &self,
        transaction: &mut FencedTransaction<'_>,
        text: &str,
        more: &[Option<String>],
        keep: Option<i32>,
        width: i32,
    ) -> Result<Answer, Stop> {
        let inputs = [&self.inputs, more].concat();
        let rows = transaction.query(CALL, &[&text, &inputs, &keep, &width]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Stop::Failed(Error::new(ErrorKind::Database, "the function gave no answer")))?;
        Ok(Answer { counted: row.get::<_, i64>(0).unsigned_abs(), kept: row.get(1) })
    }

    /// Puts back what the statement may have changed in the session, the function included.
    ///
    /// # Errors
    /// Whatever the database reports.
    ///
    /// # Cancel safety
    /// As [`FencedTransaction::execute`].
    pub async fn discard(&self, transaction: &mut FencedTransaction<'_>) -> Result<(), Stop> {
        transaction.execute(statements::RESET_SESSION, &[]).await?;
        transaction.execute(statements::SQL_DISCARD, &[]).await.map(drop)
    }

    fn missing_right(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(error) if error.sqlstate() == Some("42501") => {
                let remedy = format!("let role {} create functions in its temporary schema", self.role);
                Stop::refused(format!("the statement cannot run as role {}: {error}", self.role), remedy)
            }
            other => other,
        }
    }
}

/// The role, and how to become it.
async fn rights(context: &mut RunContext) -> Result<(String, Option<String>), Stop> {
    let run = context.run_id();
    let rows = context.query(statements::SQL_RIGHTS, &[&run]).await?;
    let Some(row) = rows.first() else {
        // The job is no longer this run's: the ping says why.
        context.ping().await?;
        return Err(Stop::refused("the job is gone", "save it again"));
    };
    let (Some(role), Some(quoted)) =
        (row.get::<_, Option<String>>("role"), row.get::<_, Option<&str>>("quoted_role"))
    else {
        let role = Quoted::name(row.get::<_, Option<&str>>("run_as").unwrap_or_default());
        let reason = format!("run_as: there is no role {}", role.as_str());
        return Err(Stop::refused(reason, format!("CREATE ROLE {};", role.as_str())));
    };
    permit(row, &role, quoted)?;
    if role == row.get::<_, &str>("runner") {
        return Ok((role, None));
    }
    let become_role = format!("SET LOCAL ROLE {quoted}");
    let remedy = format!("GRANT {quoted} TO {};", row.get::<_, &str>("quoted_runner"));
    may_become(context, &become_role, remedy).await?;
    Ok((role, Some(become_role)))
}

fn permit(row: &Row, role: &str, quoted: &str) -> Result<(), Stop> {
    if !row.get::<_, bool>("editor_may") {
        let editor: &str = row.get("editor");
        let reason =
            format!("{editor}, who edited the job last, is no member of role {role}, which it would run as");
        return Err(Stop::refused(reason, "set the job's run_as to a role of its author's"));
    }
    if !row.get::<_, bool>("may_temp") {
        let database: &str = row.get("quoted_database");
        let reason = format!("role {role} may not have temporary functions, which the statement runs in");
        return Err(Stop::refused(reason, format!("GRANT TEMPORARY ON DATABASE {database} TO {quoted};")));
    }
    Ok(())
}

/// Tries, since what a member may depends on the server's version.
async fn may_become(context: &mut RunContext, become_role: &str, remedy: String) -> Result<(), Stop> {
    let mut transaction = context.begin().await?;
    match transaction.execute(become_role, &[]).await {
        Err(Stop::Failed(error)) if error.sqlstate() == Some("42501") => {
            Err(Stop::refused(format!("run_as: {error}"), remedy))
        }
        answer => answer.map(drop),
    }
}

/// The statement with `:name` as an element of the one array that all inputs are bound in.
fn bound(context: &RunContext, param: &str, statement: &str) -> Result<(String, Vec<Option<String>>), Stop> {
    let pieces = inputs::cut(statement)
        .map_err(|message| Stop::refused(format!("params.{param}: {message}"), "edit the job"))?;
    let declared = inputs::declared(context, param, &pieces)?;
    let position = |name: &str| declared.keys().position(|known| known == name).map_or(0, |at| at + 1);
    let mut text = String::new();
    for piece in &pieces {
        match (piece, piece.input().and_then(|name| Some((name, declared.get(name)?)))) {
            (Piece::Sql(sql), _) => text.push_str(sql),
            (_, Some((name, input))) => {
                text.push_str(&format!("(($1::text[])[{}]::{})", position(name), input.type_name()));
            }
            (_, None) => text.push_str("NULL"),
        }
    }
    Ok((text, declared.values().map(inputs::Input::to_text).collect()))
}

/// Says what to do about errors that a statement of a job meets more often than others.
pub fn explain(stop: Stop, param: &str) -> Stop {
    let Stop::Failed(error) = stop else { return stop };
    let remedy = match error.sqlstate() {
        Some("55P03") => "raise params.lock_timeout, or run it at a quieter time",
        Some("57014") => "raise params.statement_timeout, or let it do less at a time: repeat = true",
        Some("25001") => "see the kind upkeep for what cannot run in a transaction",
        Some("42501") => "grant the right to the job's run_as",
        _ => return Stop::Failed(error.about(format!("params.{param}"))),
    };
    Stop::Failed(error.about(format!("params.{param}")).with_remedy(remedy))
}
