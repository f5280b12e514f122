//! How much of the database a kind of simple batches takes; the purge has a controller of its own.

use std::time::Duration;

use serde::Deserialize;

/// The rest between batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// As long as the last one took.
    #[default]
    Gentle,
    /// None.
    Full,
}

impl Pacing {
    /// The rest after a batch that took that long.
    pub fn rest_after(self, took: Duration) -> Duration {
        match self {
            Pacing::Gentle => took,
            Pacing::Full => Duration::ZERO,
        }
    }
}
