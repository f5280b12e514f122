//! The job that rows are submitted to, and whether the query's columns are what it takes.
//!
//! What is easy to get wrong: the job may be edited while rows are submitted. Nothing here is relied upon for safety; the
//! database judges each row again, and a batch that it refuses is taken back.

use serde_json::{Map, Value};

use super::params::Params;
use crate::{
    kind::{RunContext, Stop, sql::Quoted, trampoline::Trampoline},
    statements,
};

/// A job that takes the query's rows.
pub struct Target {
    /// Its id.
    pub id: i64,
    /// The id of the fan-out.
    pub source: i64,
    /// The inputs that it declares.
    inputs: Vec<String>,
    /// The type of the key, as SQL names it.
    pub key_type: Quoted,
}

impl Target {
    /// Looks it up, and holds the columns of the query against its inputs.
    ///
    /// # Errors
    /// [`Stop::Refused`] with what is in the way.
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn find(context: &mut RunContext, params: &Params, query: &Trampoline) -> Result<Self, Stop> {
        let run = context.run_id();
        let rows = context.query(statements::FAN_OUT_TARGET, &[&params.job, &run]).await?;
        let Some(row) = rows.first() else {
            // The job is no longer this run's: the ping says why.
            context.ping().await?;
            return Err(Stop::refused("the job is gone", "save it again"));
        };
        let job = &params.job;
        let Some(id) = row.get::<_, Option<i64>>("id") else {
            return Err(Stop::refused(format!("params.job: there is no job \"{job}\""), "create it first"));
        };
        if row.get("is_one_off") || !row.get::<_, bool>("manual") {
            let reason = format!("params.job: {job} has a schedule, and so no one-offs");
            return Err(Stop::refused(reason, format!("set the schedule of {job} to \"manual\"")));
        }
        if let Some(invalid) = row.get::<_, Option<&str>>("invalid_reason") {
            return Err(Stop::refused(format!("params.job: {job} is invalid: {invalid}"), "mend it first"));
        }
        if !row.get::<_, bool>("editor_may") {
            let editor: &str = row.get("editor");
            let reason = format!("{editor}, who edited the job last, may not submit one-offs");
            let remedy = format!(
                "GRANT EXECUTE ON FUNCTION sexton.submit(text, jsonb, timestamptz, text) TO {editor};"
            );
            return Err(Stop::refused(reason, remedy));
        }
        let declared: Value = row.get("inputs");
        let inputs: Vec<String> =
            declared.as_object().map(|inputs| inputs.keys().cloned().collect()).unwrap_or_default();
        let key_type = fit(params, query, &inputs)?;
        Ok(Target { id, source: row.get("source"), inputs, key_type })
    }

    /// How many one-offs of it are not done.
    ///
    /// # Errors
    /// As [`RunContext::query`].
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn pending(&self, context: &mut RunContext, params: &Params) -> Result<u64, Stop> {
        let run = context.run_id();
        let rows = context.query(statements::FAN_OUT_TARGET, &[&params.job, &run]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>("pending").unsigned_abs()))
    }

    /// How many of these were submitted by this fan-out.
    ///
    /// # Errors
    /// As [`RunContext::query`].
    ///
    /// # Cancel safety
    /// As [`RunContext::query`].
    pub async fn own_pending(&self, context: &mut RunContext) -> Result<u64, Stop> {
        let rows = context.query(statements::FAN_OUT_DONE, &[&self.id, &self.source]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }

    /// The inputs of a row of the query.
    pub fn inputs_of(&self, row: &Value) -> Value {
        let input = |name: &String| (name.clone(), row.get(name).cloned().unwrap_or_default());
        Value::Object(self.inputs.iter().map(input).collect::<Map<_, _>>())
    }
}

/// The type of the key, if the columns are just the inputs and the key.
fn fit(params: &Params, query: &Trampoline, inputs: &[String]) -> Result<Quoted, Stop> {
    let columns = query.columns();
    let known = || columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(key) = columns.iter().find(|column| column.name == params.key) else {
        let reason = format!("params.key: the query gives no column \"{}\", but {}", params.key, known());
        return Err(Stop::refused(reason, "name one of these, or select it too"));
    };
    if let Some(missing) = inputs.iter().find(|input| columns.iter().all(|column| column.name != **input)) {
        let reason = format!(
            "params.query: {} declares the input \"{missing}\", and the query gives no such column",
            params.job
        );
        return Err(Stop::refused(reason, format!("select it: … AS \"{missing}\"")));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.name == column.name) {
            let reason = format!("params.query: two columns are called \"{}\"", column.name);
            return Err(Stop::refused(reason, "give each a name of its own: … AS name"));
        }
        if column.name != params.key && !inputs.contains(&column.name) {
            let reason = format!("params.query: {} declares no input \"{}\"", params.job, column.name);
            return Err(Stop::refused(reason, "declare it there, with its type, or do not select it"));
        }
    }
    Ok(key.type_name.clone())
}
