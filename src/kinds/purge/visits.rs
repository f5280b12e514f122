//! The patient pass at a walk's end, over ranges where the quick one met locks.
//!
//! What is easy to get wrong: whoever holds a lock may hold it for hours, so each range is visited a few times and then
//! left, and what stays in it is counted.

use std::time::Duration;

use super::{
    cursor::Range,
    guard::number,
    statement::Form,
    walk::{Step, Walk},
};
use crate::kind::{Batch, RunContext, Stop, Stopped};

/// Visits of a range before the rows that are still locked are left.
const TIMES: u32 = 3;
/// Between two visits.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a statement of a visit may take: it reads more than it deletes.
pub const LIMIT: Duration = Duration::from_secs(10);

impl Walk<'_> {
    /// The patient pass over ranges where rows were locked.
    pub(super) async fn visit_skipped(&mut self, context: &mut RunContext) -> Result<Stopped, Stop> {
        if !self.cursor.skipped.is_empty() {
            self.limit_statements(context, LIMIT).await?;
        }
        while let Some(range) = self.cursor.skipped.first().copied() {
            if let Some(stopped) = self.budget.spent(self.tally.deleted) {
                return Ok(stopped);
            }
            let left = self.visit(context, range).await?;
            self.tally.skipped_locked += left;
            self.cursor.skipped.remove(0);
        }
        Ok(Stopped::Drained)
    }

    /// Visits a range; says how many rows are still locked.
    async fn visit(&mut self, context: &mut RunContext, range: Range) -> Result<u64, Stop> {
        let (scope, cutoff) = (self.scope, self.cursor.cutoff);
        let mut left = 0;
        for visit in 0..TIMES {
            if visit > 0 {
                self.rest(context, AGAIN).await?;
            }
            let form = Form::Unlocked(self.rows_left());
            let cursor = self.cursor.clone();
            if let Batch::Committed { rows, took, rested, .. } =
                self.send(context, &Step::of(range, form), &cursor).await?
            {
                self.committed(context, rows, took, rested).await?;
            }
            let sql = scope.count_in(cutoff.as_ref(), &range);
            left = number(&context.query(&sql.text, &sql.values).await?);
            if left == 0 {
                break;
            }
        }
        Ok(left)
    }
}
