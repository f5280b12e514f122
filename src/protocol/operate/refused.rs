//! What the database says to a person's request, as an error that tells what to do.
//!
//! The SQLSTATEs of the schema's own (V2__protocol.sql lists them) become kinds of error here, and here alone. What is
//! easy to get wrong: a missing schema shows as a missing relation or function, depending on what was asked first.

use crate::error::{Error, ErrorKind};

/// How alike two names must be for one to be taken for a slip of the other.
const ALIKE: f64 = 0.8;

/// That the schema is missing.
pub(super) fn no_schema(message: &str) -> Error {
    Error::new(ErrorKind::Schema, message).with_remedy("Create it: `sexton migrate`.")
}

/// What the database said, sorted.
pub(super) fn explained(error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else { return error.into() };
    let message = db.message().to_owned();
    let kind = match db.code().code() {
        "SX005" => ErrorKind::Refused,
        "SX006" if is_unknown_job(&error) => ErrorKind::NotFound,
        "SX006" => ErrorKind::Invalid,
        "42P01" | "42883" | "42703" if message.contains("sexton.") => {
            return no_schema(&message).with_remedy(
                "The schema sexton is incomplete or older than this program: `sexton migrate` upgrades it.",
            );
        }
        "42501" => ErrorKind::Denied,
        _ => return error.into(),
    };
    let remedy = db.hint().map(str::to_owned);
    let remedy = match (remedy, kind) {
        (None, ErrorKind::Denied) => Some(
            "Ask for the role sexton_operator (or sexton_viewer to look): GRANT sexton_operator TO you."
                .to_owned(),
        ),
        (remedy, _) => remedy,
    };
    let error = Error::new(kind, message);
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Whether it is `sexton.job_named` that found no job.
pub(super) fn is_unknown_job(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| db.code().code() == "SX006" && db.message().starts_with("there is no job"))
}

/// That there is no such job.
pub(super) fn unknown_job(name: &str, names: &[String]) -> Error {
    with_guess(Error::new(ErrorKind::NotFound, format!("there is no job \"{name}\"")), names)
}

/// The same error, with the name that was perhaps meant, or the names that there are.
pub(super) fn with_guess(error: Error, names: &[String]) -> Error {
    let text = error.to_string();
    let wanted = text.split('"').nth(1).unwrap_or_default();
    let remedy = match likely(wanted, names) {
        Some(name) => format!("Did you mean \"{name}\"?"),
        None if names.is_empty() => {
            "There are no jobs yet: `sexton init` proposes a file, `sexton apply` makes them.".to_owned()
        }
        None => format!("`sexton jobs` lists them: {}.", shortened(names)),
    };
    error.with_remedy(remedy)
}

fn likely<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name.as_str()))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn shortened(names: &[String]) -> String {
    const MOST: usize = 10;
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(MOST)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_a_stranger_is_not() {
        let names = ["audit-logs".to_owned(), "sessions".to_owned()];
        assert_eq!(unknown_job("audit-log", &names).remedy(), Some("Did you mean \"audit-logs\"?"));
        assert_eq!(
            unknown_job("zzz", &names).remedy(),
            Some("`sexton jobs` lists them: audit-logs, sessions.")
        );
        assert!(unknown_job("zzz", &[]).remedy().is_some_and(|remedy| remedy.contains("sexton apply")));
    }
}
