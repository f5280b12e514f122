//! What is wrong with a schedule's text, where, and what would be right.
//!
//! It is apart from the crate's error since a file's reader wants the place within the text, to point at it. What
//! is easy to get wrong: places are byte offsets (for whoever underlines them), columns are characters (for people).

use std::{fmt, ops::Range};

use super::text::Piece;
use crate::error::Error;

/// A schedule, time zone or missed-run policy that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    message: String,
    remedy: Option<String>,
    place: Option<Range<usize>>,
    column: usize,
}

impl ScheduleError {
    /// An error about something that stands elsewhere than in the schedule's text.
    pub(super) fn elsewhere(message: impl Into<String>) -> Self {
        ScheduleError { message: message.into(), remedy: None, place: None, column: 0 }
    }

    /// An error about a piece of the text.
    pub(super) fn at(piece: Piece<'_>, message: impl Into<String>) -> Self {
        let place = Some(piece.at()..piece.at() + piece.text().len());
        ScheduleError { message: message.into(), remedy: None, place, column: piece.column() }
    }

    /// Says what would be right.
    pub(super) fn remedy_is(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What is wrong, without place and remedy.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right, if that can be told.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The bytes of the text that are wrong, or none if it is not the text (but the time zone given beside it).
    pub fn place(&self) -> Option<Range<usize>> {
        self.place.clone()
    }

    fn message_with_column(&self) -> String {
        match self.place {
            Some(_) => format!("{} (column {})", self.message, self.column),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message_with_column())?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl From<ScheduleError> for Error {
    fn from(error: ScheduleError) -> Self {
        let invalid = Error::invalid(error.message_with_column());
        match error.remedy {
            Some(remedy) => invalid.with_remedy(remedy),
            None => invalid,
        }
    }
}

/// The candidate that `word` is a slip of, if one is near enough: a letter in four, at least one, at most three.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 4).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
