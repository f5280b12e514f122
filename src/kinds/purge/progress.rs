//! What a walk says of how far it is, for people who watch.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{cursor::Cursor, walk::Walk};
use crate::kind::{RunContext, Stop};

/// How often.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

impl Walk<'_> {
    /// Says how far it is, at most so often.
    pub(super) async fn tell(&mut self, context: &mut RunContext) -> Result<(), Stop> {
        // A batch that was begun already would have to be taken back for it; after the next one there is none.
        if self.told.elapsed() < TELL_EVERY || self.planned.is_some() {
            return Ok(());
        }
        self.told = Instant::now();
        let Cursor { at, end, eligible, .. } = &self.cursor;
        let own = (self.tally.deleted, self.tally.batches);
        let (rows, batches) = self.together.as_ref().map_or(own, |together| together.counted());
        let target = self.cursor.among.as_ref().and_then(|among| among.left.front());
        let progress = json!({
            "target": target, "rows": rows, "eligible": eligible, "batches": batches,
            "walk": at.walk(), "at": at, "end": end, "part": context.part(),
        });
        context.progress(&progress).await
    }
}
