//! How a kind describes itself: the one source of `sexton kinds`, the documentation's table and the hints in errors.

/// What a kind does to the world, which decides the rules that its runs are under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Its effects are in the database, and can be made again.
    Database,
    /// It deletes. Its jobs are born disarmed: until an operator arms their present revision, runs are dry runs.
    Destructive,
    /// It acts outside the database: at most one runner at a time, at least once.
    Outside,
}

/// One parameter of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name in `params`.
    pub name: &'static str,
    /// What it takes, with the unit: `interval`, `SQL predicate`, `rows`.
    pub takes: &'static str,
    /// Its default in words, or why it has none.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
}

/// A kind in its own words.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The rules that its runs are under.
    pub nature: Nature,
    /// Its parameters: the closed set.
    pub params: &'static [Param],
    /// A job of this kind as a `sexton.toml` has it; a test holds that it validates.
    pub example: &'static str,
}
