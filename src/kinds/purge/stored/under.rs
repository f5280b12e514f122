//! The batch that is under way: what its keys and its receipt say of it.
//!
//! What is easy to get wrong: it is taken before the transaction begins, and its number is that of the next commit, which a
//! batch that was taken back leaves to the one after it.

use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    kind::RunContext,
    outside::{
        archive::{Receipt, Spot, VERSION},
        backup::SetManifest,
    },
};

/// The batch that is under way.
#[derive(Debug)]
pub struct Under {
    run: Uuid,
    install: Uuid,
    job: String,
    occurrence: Timestamp,
    token: String,
    revision: i64,
    part: u32,
    seq: u64,
}

impl Under {
    /// The next one of this context.
    pub fn way(context: &RunContext) -> Self {
        Under {
            run: context.run_id(),
            install: context.install_id(),
            job: context.job().to_owned(),
            occurrence: context.occurrence(),
            token: context.token(),
            revision: context.revision(),
            part: context.part().unwrap_or_default(),
            seq: context.batches(),
        }
    }

    /// Where it lies.
    pub(super) fn spot(&self, storage: &str, prefix: &str) -> Spot {
        let of = (prefix, self.job.as_str(), self.occurrence);
        Spot::new(of, (&self.token, self.install, storage), (self.part, self.seq))
    }

    /// The receipt of what it wrote to a storage, with one set so far.
    pub(super) fn receipt(&self, moment: &Row, storage: &str, spot: Spot, set: SetManifest) -> Receipt {
        Receipt {
            sexton_archive: VERSION,
            storage: storage.to_owned(),
            folder: spot.folder,
            part: spot.part,
            seq: spot.seq,
            run_id: self.run,
            install_id: self.install,
            job: self.job.clone(),
            revision: self.revision,
            occurrence: self.occurrence,
            token: self.token.clone(),
            archived_at: moment.get("archived_at"),
            database: moment.get("database"),
            server: moment.get("server"),
            compression: "zstd".to_owned(),
            sets: vec![set],
        }
    }
}
