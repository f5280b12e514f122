//! Bringing a backup or an archive back: what lies in a storage, whether it is sound, and its way into tables or a file.
//!
//! It needs no schema `sexton`: a new deployment restores before anything else is there. What is easy to get wrong: a
//! restore believes the manifest and not today's job; and it is one transaction, so what turns out rotten at the last byte
//! of the last set leaves nothing behind.

pub mod archive;
mod choose;
mod decode;
mod file;
mod load;
mod order;
mod target;

use serde::Serialize;

pub use choose::{Choice, Wanted};
pub use file::{into_file, is_free};
pub use load::into_tables;
pub use target::{Into, Likeness, Target};

use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        backup::{Backup, Seal, SetManifest, Verified, unknown_key, verify_set},
        storage::OpenStorage,
    },
};

/// What to do with rows that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Restore nothing.
    #[default]
    Fail,
    /// Leave them as they are.
    Skip,
    /// Put the backup's values in their place, by the primary key.
    Replace,
}

/// What became of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The set.
    pub set: String,
    /// Where it went.
    pub into: String,
    /// Rows of the set.
    pub rows: u64,
    /// Rows that were written.
    pub written: u64,
}

/// Whether a set is what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The set.
    pub set: String,
    /// What is wrong with it; none if it is good.
    pub problem: Option<String>,
}

/// What a restore into tables would do, after all that can be checked without reading the objects: which set goes where,
/// in the order of foreign keys.
///
/// # Errors
/// [`ErrorKind::Refused`] if a table is not there or does not have the columns of its set, if sets of two tables would go
/// into one, or if there is no order.
///
/// # Cancel safety
/// Safe.
pub async fn plan(
    session: &tokio_postgres::Client,
    sets: &[&SetManifest],
    into: &Into,
    (on_conflict, likeness): (OnConflict, Likeness),
) -> Result<Vec<Target>> {
    let targets = target::resolve(session, sets, into, likeness).await?;
    for target in &targets {
        target.permit(on_conflict)?;
    }
    order::by_foreign_keys(session, targets).await
}

/// Reads every set and compares it with the manifest.
///
/// # Cancel safety
/// Safe.
pub async fn verify(storage: &OpenStorage, backup: &Backup) -> Vec<Checked> {
    let mut checked = Vec::new();
    for set in &backup.manifest.sets {
        let problem = match &backup.seal {
            Seal::UnknownKey(key) => Some(unknown_key(key).to_string()),
            Seal::None | Seal::Good => match verify_set(storage, &backup.folder.path, set).await {
                Verified::Good => None,
                Verified::Bad(problem) => Some(problem),
            },
        };
        checked.push(Checked { set: set.name.clone(), problem });
    }
    checked
}

fn rotten(set: &SetManifest, problem: &str) -> Error {
    Error::new(ErrorKind::Outside, format!("it is not what was written: {problem}"))
        .about(format!("set {}", set.name))
        .with_remedy("restore what is sound; `sexton restore --verify` tells")
}
