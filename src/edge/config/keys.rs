//! The closed set of keys, declared once: the reader, the suggestions, `--show` and the test of `docs/file.md` use it.
//!
//! What is easy to get wrong: a key here is a column of `sexton.job` of the same name, and a default here must be that
//! column's; a test against the database holds that.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Text,
    /// `"6 hours"`, or a bare integer: seconds.
    Duration(Least),
    Whole,
    Boolean,
    /// A table of names and types.
    Inputs,
}

/// The least that a duration may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Least {
    Zero,
    AboveZero,
}

/// A key of a job.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// As JSON text; empty: the column is NULL.
    pub(super) default: &'static str,
}

const fn key(name: &'static str, takes: Takes, default: &'static str) -> Key {
    Key { name, takes, default }
}

/// The keys of `[jobs.NAME]` that are columns, in the order in which people read them.
pub(super) const COLUMNS: &[Key] = &[
    key("schedule", Takes::Text, "\"manual\""),
    key("time_zone", Takes::Text, "\"UTC\""),
    key("missed", Takes::Text, "\"once\""),
    key("max_lateness", Takes::Duration(Least::AboveZero), ""),
    key("jitter", Takes::Duration(Least::Zero), "\"0 seconds\""),
    key("timeout", Takes::Duration(Least::AboveZero), "\"6 hours\""),
    key("max_attempts", Takes::Whole, "3"),
    key("backoff", Takes::Duration(Least::Zero), "\"30 seconds\""),
    key("backoff_max", Takes::Duration(Least::Zero), "\"1 hour\""),
    key("resume_after", Takes::Duration(Least::AboveZero), "\"1 minute\""),
    key("pause_after", Takes::Whole, ""),
    key("priority", Takes::Whole, "0"),
    key("search_path", Takes::Text, ""),
    key("expect_success_every", Takes::Duration(Least::AboveZero), ""),
    key("keep_runs", Takes::Whole, ""),
    key("keep_runs_for", Takes::Duration(Least::AboveZero), ""),
    key("run_as", Takes::Text, ""),
    key("database", Takes::Text, ""),
    key("inputs", Takes::Inputs, "{}"),
];

/// The key that is no column: it arms what is applied.
pub(super) const ARMED: Key = key("armed", Takes::Boolean, "false");

/// Those that make no sense for all jobs at once.
pub(super) const NOT_IN_DEFAULTS: &[&str] = &["armed", "inputs", "schedule"];

/// The keys of the file itself.
pub(super) const TOP: &[&str] = &["app", "generation", "defaults", "jobs"];

/// The declared key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    COLUMNS.iter().chain([&ARMED]).find(|key| key.name == name)
}

/// All names of a job's keys.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().chain([&ARMED]).map(|key| key.name)
}

/// The name that `word` is likely a slip of.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
