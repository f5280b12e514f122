//! A batch whose rows go to storages: deleted, written, committed, and its receipts put.
//!
//! What is easy to get wrong: a batch of which nobody knows whether it committed must keep its objects; only what was
//! surely taken back is removed.

use std::time::Duration;

use tokio::time::Instant;

use super::{Taken, Under};
use crate::{
    kind::{Batch, RunContext, Stop, Undone},
    kinds::purge::{
        cursor::{Cursor, Cutoff, Range},
        remove::{Removal, contention},
        statement::{Form, Scope},
        walk::failed,
    },
};

impl Removal<'_> {
    /// One batch, fenced, which commits once the storages have the rows.
    pub(in crate::kinds::purge) async fn batch_to_stores(
        &mut self,
        context: &mut RunContext,
        scope: &Scope,
        (cutoff, range, form): (Option<&Cutoff>, &Range, &Form),
        after: &Cursor,
    ) -> Result<Batch, Stop> {
        let Some(mut stores) = self.stores.take() else { return Err(failed("a batch without its storages")) };
        let batch = async {
            let (started, under) = (Instant::now(), Under::way(context));
            let mut transaction = context.begin().await?;
            let done = async {
                let counts = self.remove(&mut transaction, scope, (cutoff, range, form)).await?;
                let taken = match counts.rows {
                    0 => Taken::Whole(Vec::new(), Duration::ZERO),
                    _ => stores.write(&mut transaction, &under).await?,
                };
                Ok((counts, taken))
            }
            .await;
            let (counts, receipts, uploading) = match done {
                Ok((counts, Taken::Whole(receipts, uploading))) => (counts, receipts, uploading),
                Ok((_, Taken::Slow)) => {
                    transaction.roll_back().await?;
                    stores.forget(context).await;
                    return Ok(Batch::Undone(Undone::StatementTimeout));
                }
                Err(stop) => {
                    transaction.roll_back().await?;
                    stores.forget(context).await;
                    return contention(stop);
                }
            };
            // The time of others says nothing about the size of a batch.
            let own = |elapsed: Duration| elapsed.saturating_sub(uploading);
            let done = own(started.elapsed());
            match transaction.commit(counts.rows, &after.with_receipts(&receipts)?).await {
                Ok(()) => {
                    let batch = self.committed(&counts, own(started.elapsed()), done);
                    stores.settle(context, receipts, uploading).await?;
                    Ok(batch)
                }
                Err(stop) => {
                    let undone = contention(stop)?;
                    stores.forget(context).await;
                    Ok(undone)
                }
            }
        }
        .await;
        self.stores = Some(stores);
        batch
    }
}
