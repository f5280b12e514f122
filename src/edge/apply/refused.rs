//! What the database refuses, brought back to the place in the file.
//!
//! What is easy to get wrong: the guard trigger says `job NAME: FIELD: …`, a CHECK only its constraint's name, and a lost
//! session nothing about any job; the last must not be shown as the file's fault.

use super::Failure;
use crate::{
    edge::config::{Config, Problem, Problems},
    error::{Error, ErrorKind},
    protocol::author::Definition,
};

/// The problem that a job has by the database's word.
///
/// # Errors
/// If it is not about the job: the session is lost, or the role may not write jobs at all.
pub(super) fn explain(config: &Config, job: &str, error: tokio_postgres::Error) -> Result<Problem, Failure> {
    let Some(db) = error.as_db_error() else { return Err(Failure::Error(error.into())) };
    let remedy = db.hint().map(str::to_owned);
    let own = db.message().strip_prefix(&format!("job {job}: "));
    if let Some((path, message)) = own.and_then(|own| own.split_once(": ")).filter(|(path, _)| is_path(path))
    {
        return Ok(config.problem(job, path, message, remedy));
    }
    if let Some(message) = own {
        return Ok(config.problem(job, "", message, remedy));
    }
    match (db.constraint(), db.code().code()) {
        // The one rule of the table over two columns of a definition.
        (Some("job_check"), _) if config.says(job, "backoff_max") => {
            Ok(config.problem(job, "backoff_max", "must not be less than backoff", remedy))
        }
        (Some("job_check"), _) => {
            Ok(config.problem(job, "backoff", "must not be more than backoff_max, by default 1 hour", remedy))
        }
        (Some(constraint), _) => {
            let column = constraint.trim_start_matches("job_").trim_end_matches("_check");
            Ok(config.problem(job, column, &rule(column), remedy))
        }
        (None, "42704") if config.says(job, "run_as") => {
            Ok(config.problem(job, "run_as", db.message(), remedy))
        }
        (None, code) => {
            let message = format!("{} [{code}]", db.message());
            match Error::from(error) {
                error if error.kind() == ErrorKind::Database => Ok(config.problem(job, "", &message, remedy)),
                error => Err(Failure::Error(without_rights(error))),
            }
        }
    }
}

/// What a column's CHECK asks for.
fn rule(column: &str) -> String {
    match column {
        "timeout" | "resume_after" => "must be at least 1 second".to_owned(),
        "jitter" => "must be at most 1 day".to_owned(),
        "max_attempts" => "must be from 1 to 1000".to_owned(),
        "pause_after" | "keep_runs" => "must be at least 1".to_owned(),
        _ => format!("the database does not allow this value (constraint job_{column}_check)"),
    }
}

/// A column or a parameter, as the trigger names it.
fn is_path(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._[]".contains(c))
}

/// Adds the remedy where the role may not write jobs.
pub(super) fn without_rights(error: Error) -> Error {
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    error.with_remedy("whoever applies needs the role of authors: GRANT sexton_author TO …")
}

/// The file names jobs that belong to other applications.
pub(super) fn strangers(config: &Config, strangers: &[&Definition]) -> Problems {
    let problem = |row: &&Definition| {
        let message = format!("the name is taken by a job of the application \"{}\"", row.app);
        config.problem(
            &row.name,
            "",
            &message,
            Some("choose another name, or set `app` if this file is that application's".to_owned()),
        )
    };
    config.problems(strangers.iter().map(problem).collect())
}
