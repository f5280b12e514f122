//! What a run gives back when it did its work.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a run that did its work came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// Nothing is left to do.
    Drained,
    /// The budget of rows was used up.
    LimitRows,
    /// The budget of time was used up.
    TimeLimit,
    /// The time window closed.
    WindowClosed,
    /// The database asked for rest.
    BackPressure,
}

/// What a run says that it did: shown verbatim by SQL, command line and notices.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Why the run came to its end.
    pub stopped: Stopped,
    /// When to come back for the rest, ahead of the job's next regular occurrence.
    #[serde(skip)]
    pub come_back: ComeBack,
    /// Everything else, by name.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Whether a run wants to be resumed soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComeBack {
    /// At the next regular occurrence.
    #[default]
    Regularly,
    /// After the job's `resume_after`.
    Soon,
    /// At this instant.
    At(Timestamp),
}

impl Report {
    /// A report of a run that ended for this reason.
    pub fn new(stopped: Stopped) -> Self {
        Report { stopped, come_back: ComeBack::Regularly, details: Map::new() }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The report as it is stored.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a report is a map of JSON values")
    }
}
