//! What a walk did so far.
//!
//! What is easy to get wrong: parts of a walk add up, but for the smallest, largest and longest of all.

use std::time::Duration;

/// What a run did so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Rows deleted.
    pub deleted: u64,
    /// Batches that committed.
    pub batches: u64,
    /// Rows of the last batch.
    pub last: u64,
    /// Rows of the smallest and the largest batch.
    pub extremes: Option<(u64, u64)>,
    /// Time spent on batches and on finding them.
    pub busy: Duration,
    /// Time spent resting, between batches and within them.
    pub rested: Duration,
    /// Rows left since they were locked.
    pub skipped_locked: u64,
    /// Ages that more rows share than one batch takes.
    pub crowded: u64,
    /// Batches whose end was guessed instead of looked up.
    pub guessed: u64,
    /// Statements by which the rows went.
    pub slices: u64,
    /// Batches that were begun before the commit of the one before them was answered.
    pub ahead: u64,
    /// The longest batch.
    pub longest: Duration,
}

impl Tally {
    /// One more batch, and how much of its time the server rested.
    pub fn count(&mut self, rows: u64, took: Duration, rested: Duration) {
        self.deleted += rows;
        self.batches += 1;
        self.last = rows;
        let (min, max) = self.extremes.unwrap_or((rows, rows));
        self.extremes = Some((min.min(rows), max.max(rows)));
        self.busy += took.saturating_sub(rested);
        self.rested += rested;
        self.longest = self.longest.max(took);
    }

    /// Adds what another part of the walk did.
    pub fn absorb(&mut self, other: &Tally) {
        self.deleted += other.deleted;
        self.batches += other.batches;
        self.last = other.last;
        self.extremes = match (self.extremes, other.extremes) {
            (Some((min, max)), Some((least, most))) => Some((min.min(least), max.max(most))),
            (one, other) => one.or(other),
        };
        self.busy += other.busy;
        self.rested += other.rested;
        self.skipped_locked += other.skipped_locked;
        self.crowded += other.crowded;
        self.guessed += other.guessed;
        self.slices += other.slices;
        self.ahead += other.ahead;
        self.longest = self.longest.max(other.longest);
    }
}
