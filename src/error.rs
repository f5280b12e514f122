//! The one error of this crate: what kind of trouble, what it is about, what to do, and what caused it.
//!
//! It is opaque so that it can grow; callers match on [`ErrorKind`] alone. A lost race is *not* an error here:
//! the protocol returns those as values (`Claimed::Lost`, `Stop`). What is easy to get wrong: a failure to
//! reach the database says nothing about a job, so it must never be recorded as the job's failure.

use std::fmt;

/// A shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of trouble an [`Error`] is. The command line derives its exit code from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The database could not be reached, refused the login, or the session to it ended.
    Unreachable,
    /// Something given by a person is wrong: a file, a parameter, a schedule, a name.
    Invalid,
    /// No such job, run or table.
    NotFound,
    /// The role lacks a right.
    Denied,
    /// A guard refused: doing it would have looked wrong.
    Refused,
    /// The schema `sexton` is missing, too old or too new for this program.
    Schema,
    /// What stands between us and the server breaks sessions (a transaction pooler), or it is a standby.
    Unsuitable,
    /// The database reported an error that is none of the above.
    Database,
    /// Something outside the database failed: a file, a process, the operating system.
    Outside,
}

/// An error of this crate.
///
/// `Display` gives one line: subject, message and the causes behind it. The remedy is apart
/// ([`Error::remedy`]), so that a terminal can set it off.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    subject: Option<String>,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message that stands on its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, subject: None, message: message.into(), remedy: None, source: None }))
    }

    /// Something given by a person is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Says what the error is about: `job audit-logs`, `file sexton.toml`.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the error is about, if that was said.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// What the reader can do about it, if there is something.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// The SQLSTATE that the server gave, if the cause is an error of the server.
    pub fn sqlstate(&self) -> Option<&str> {
        let source = self.0.source.as_deref()?;
        let error = source.downcast_ref::<tokio_postgres::Error>()?;
        error.code().map(tokio_postgres::error::SqlState::code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(subject) = &self.0.subject {
            write!(f, "{subject}: ")?;
        }
        f.write_str(&self.0.message)?;
        // What the server said is the message already; the client library would say it once more.
        let cause = self.0.source.as_deref().filter(|_| self.sqlstate().is_none());
        let mut cause = cause.map(|s| s as &dyn std::error::Error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !self.0.message.contains(&text) {
                write!(f, ": {text}")?;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// Sorts what the client library reports: a dead session, a missing right, or the database's own error.
impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.as_db_error() {
            None => ErrorKind::Unreachable,
            Some(db) => match db.code().code() {
                "42501" => ErrorKind::Denied,
                "25006" => ErrorKind::Unsuitable,
                "3F000" => ErrorKind::Schema,
                // connection exceptions, invalid authorization, unknown database, shutting down or starting up,
                // and a server that has run out of something (decisions.md: never the job's failure)
                code if matches!(&code[..2], "08" | "28" | "3D" | "53")
                    || code.starts_with("57P")
                    || code == "25P03" =>
                {
                    ErrorKind::Unreachable
                }
                _ => ErrorKind::Database,
            },
        };
        let message = match error.as_db_error() {
            Some(db) => {
                let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
                format!("{}{detail} [{}]", db.message(), db.code().code())
            }
            None => error.to_string(),
        };
        let remedy = error.as_db_error().and_then(|db| db.hint()).map(str::to_owned).or_else(|| {
            let remedy = "connect to the primary, if this is a standby: with several hosts, \
                target_session_attrs=read-write finds it";
            (kind == ErrorKind::Unsuitable).then(|| remedy.to_owned())
        });
        Error(Box::new(Inner { kind, subject: None, message, remedy, source: Some(Box::new(error)) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_subject_message_and_causes_once() {
        let cause = std::io::Error::other("disk on fire");
        let error = Error::new(ErrorKind::Outside, "cannot read").about("file sexton.toml").caused_by(cause);
        assert_eq!(error.to_string(), "file sexton.toml: cannot read: disk on fire");
    }
}
