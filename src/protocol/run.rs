//! What becomes of a run: its outcome, why it stopped, and the one `match` that leads from the one to the other.
//!
//! A run is `running` until it gets an outcome, and has it for good. What is easy to get wrong: a session that is
//! gone is no outcome that its holder could give. Nobody writes `lost` but whoever recovers the job, holding its lock.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};

/// Whether a run writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Real,
    /// The same statements, the same cutoff, no writes; the report counts what would change.
    Dry,
}

impl Mode {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Real => "real",
            Mode::Dry => "dry",
        }
    }
}

/// A run's final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The work is done, or its budget is used up. Exit: the next occurrence.
    Succeeded,
    /// The work failed. Exit: the same occurrence after the backoff, while attempts are left; else the next.
    Failed,
    /// The attempt took longer than the job's `timeout`. Exit: as failed.
    TimedOut,
    /// An operator cancelled it. Exit: the next occurrence.
    Cancelled,
    /// The job was edited. Exit: the same occurrence at once, in the new revision; the attempt is not used up.
    Superseded,
    /// Given back unfinished at a batch border. Exit: the same occurrence at once, at its cursor; the attempt is not
    /// used up.
    Released,
    /// A guard refused. Exit: the next occurrence, and a notice.
    Refused,
    /// Its session ended without a word. Exit: the same occurrence at once, while attempts are left; else the next.
    Lost,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 8] = [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Superseded,
        Outcome::Released,
        Outcome::Refused,
        Outcome::Lost,
    ];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed_out",
            Outcome::Cancelled => "cancelled",
            Outcome::Superseded => "superseded",
            Outcome::Released => "released",
            Outcome::Refused => "refused",
            Outcome::Lost => "lost",
        }
    }

    /// The outcome stored as `text`.
    pub fn parse(text: &str) -> Option<Outcome> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// Why the database says that a run must stop: the DETAIL of SX001, and the answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The job was deleted.
    Gone,
    /// Another run holds the job, or nobody does (an operator killed this one).
    Superseded,
    /// The job's definition was edited.
    Edited,
    /// An operator cancelled the run.
    Cancelled,
    /// An operator paused the job.
    Paused,
    /// An operator halted everything destructive.
    Halted,
    /// An operator disarmed the job.
    Disarmed,
    /// A legal hold was set that this run does not know of.
    Held,
}

impl StopReason {
    /// All of them.
    pub const ALL: [StopReason; 8] = [
        StopReason::Gone,
        StopReason::Superseded,
        StopReason::Edited,
        StopReason::Cancelled,
        StopReason::Paused,
        StopReason::Halted,
        StopReason::Disarmed,
        StopReason::Held,
    ];

    /// As the database says it.
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Gone => "gone",
            StopReason::Superseded => "superseded",
            StopReason::Edited => "edited",
            StopReason::Cancelled => "cancelled",
            StopReason::Paused => "paused",
            StopReason::Halted => "halted",
            StopReason::Disarmed => "disarmed",
            StopReason::Held => "held",
        }
    }

    /// What the database said. A word that this program does not know means at the least that the run must stop.
    pub fn parse(text: &str) -> StopReason {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).unwrap_or(StopReason::Superseded)
    }
}

/// Why a run ended without a report. Kinds pass it on with `?`; [`Stop::settlement`] turns it into the outcome.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stop {
    /// The database says that this run must write no more.
    Fenced(StopReason),
    /// This replica is shutting down; the run is released at its cursor and goes on elsewhere.
    Drained,
    /// The run session is gone: nothing more can be said, and another replica takes over.
    Lost(Error),
    /// The server has run out of something (disk, memory, connections): that is not the job's failure. The run is
    /// released at its cursor, to go on after the backoff.
    Unhealthy(Error),
    /// A guard refused: nothing was done.
    Refused {
        /// What looked wrong.
        reason: String,
        /// What can be done about it.
        remedy: Option<String>,
        /// What was found out on the way, as in a report.
        details: Map<String, Value>,
    },
    /// The attempt took longer than the job's `timeout`.
    TimedOut,
    /// The work failed; it is tried again as the job's `max_attempts` allow.
    Failed(Error),
    /// Failed, with something to report: what a health check found instead of what was expected, or which of several
    /// targets failed.
    Unexpected {
        /// What was expected, and what was found; or what failed.
        error: Error,
        /// What was found, as in a report.
        details: Map<String, Value>,
    },
}

/// What its holder writes about a run that ended.
#[derive(Debug, PartialEq)]
pub struct Settlement {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, for people.
    pub error: Option<String>,
    /// The report, or what a refusal found out.
    pub report: Option<Value>,
    /// When the occurrence is tried again, if it is.
    pub again: Again,
}

/// When an occurrence that is not done yet is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once.
    AtOnce,
    /// After the job's backoff.
    AfterBackoff,
}

impl Settlement {
    /// A run that did its work.
    pub fn succeeded(report: Value) -> Self {
        Settlement { outcome: Outcome::Succeeded, error: None, report: Some(report), again: Again::AtOnce }
    }
}

impl Stop {
    /// A refusal with nothing but its reason and what to do about it.
    pub fn refused(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Stop::Refused { reason: reason.into(), remedy: Some(remedy.into()), details: Map::new() }
    }

    /// What is to be written about the run; `None` where it is no longer this replica's to write.
    pub fn settlement(self) -> Option<Settlement> {
        let again = match self {
            Stop::TimedOut | Stop::Failed(_) | Stop::Unexpected { .. } | Stop::Unhealthy(_) => {
                Again::AfterBackoff
            }
            _ => Again::AtOnce,
        };
        let (outcome, error, report) = match self {
            Stop::Fenced(StopReason::Gone | StopReason::Superseded) | Stop::Lost(_) => return None,
            Stop::Fenced(StopReason::Edited) => (Outcome::Superseded, "the job was edited".to_owned(), None),
            Stop::Fenced(StopReason::Cancelled) => {
                (Outcome::Cancelled, "cancelled by an operator".to_owned(), None)
            }
            Stop::Fenced(
                reason @ (StopReason::Paused | StopReason::Halted | StopReason::Disarmed | StopReason::Held),
            ) => (Outcome::Released, reason.as_str().to_owned(), None),
            Stop::Drained => (Outcome::Released, "its replica shut down".to_owned(), None),
            Stop::Unhealthy(error) => (Outcome::Released, described(&error), None),
            Stop::TimedOut => (Outcome::TimedOut, "took longer than the job's timeout".to_owned(), None),
            Stop::Failed(error) => (Outcome::Failed, described(&error), None),
            Stop::Unexpected { error, mut details } => {
                details.entry("stopped").or_insert_with(|| "unexpected".into());
                (Outcome::Failed, described(&error), Some(Value::Object(details)))
            }
            Stop::Refused { reason, remedy, mut details } => {
                let error =
                    remedy.as_ref().map_or_else(|| reason.clone(), |remedy| format!("{reason}. {remedy}"));
                details.insert("stopped".to_owned(), "refused".into());
                details.insert("reason".to_owned(), reason.into());
                details.insert("remedy".to_owned(), remedy.into());
                (Outcome::Refused, error, Some(Value::Object(details)))
            }
        };
        Some(Settlement { outcome, error: Some(error), report, again })
    }
}

/// An error as it is stored: bounded, with its remedy.
fn described(error: &Error) -> String {
    const MOST: usize = 4096;
    let mut text = error.remedy().map_or_else(|| error.to_string(), |remedy| format!("{error}. {remedy}"));
    if text.len() > MOST {
        text.truncate((0..=MOST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}

impl From<Error> for Stop {
    /// A database that cannot be reached says nothing about the job.
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Unsuitable => Stop::Lost(error),
            _ => Stop::Failed(error),
        }
    }
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) if db.code().code() == "SX001" => {
                Stop::Fenced(StopReason::parse(db.detail().unwrap_or_default()))
            }
            // Insufficient resources, system errors: seen with a full disk, and with binaries upgraded under a running
            // server.
            Some(db) if matches!(&db.code().code()[..2], "53" | "58") => Stop::Unhealthy(error.into()),
            _ => Error::from(error).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_reasons_survive_the_way_through_the_database() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
        for reason in StopReason::ALL {
            assert_eq!(StopReason::parse(reason.as_str()), reason);
        }
    }

    #[test]
    fn what_is_no_longer_ours_is_not_written() {
        assert_eq!(Stop::Fenced(StopReason::Superseded).settlement(), None);
        assert_eq!(Stop::Fenced(StopReason::Gone).settlement(), None);
        let lost = Stop::Lost(Error::new(ErrorKind::Unreachable, "gone"));
        assert_eq!(lost.settlement(), None);
    }

    #[test]
    fn an_unknown_reason_still_stops() {
        assert_eq!(StopReason::parse("a word from a newer schema"), StopReason::Superseded);
    }
}
