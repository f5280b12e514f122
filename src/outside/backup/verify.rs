//! Whether what a storage holds is what the manifest says.

use super::{Lines, SetManifest};
use crate::{error::Result, outside::storage::OpenStorage};

/// What became of reading a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Bytes, sum and rows are the manifest's.
    Good,
    /// They are not, or it cannot be read: why.
    Bad(String),
}

/// Reads all of a set, in bounded memory.
///
/// # Errors
/// None of the storage's: what cannot be read is bad.
///
/// # Cancel safety
/// Safe.
pub async fn verify_set(storage: &OpenStorage, folder: &str, set: &SetManifest) -> Verified {
    match read(storage, folder, set).await {
        Ok(None) => Verified::Good,
        Ok(Some(difference)) => Verified::Bad(difference),
        Err(error) => Verified::Bad(error.to_string()),
    }
}

async fn read(storage: &OpenStorage, folder: &str, set: &SetManifest) -> Result<Option<String>> {
    let mut content = storage.open_object(&format!("{folder}/{}", set.object)).await?;
    let mut lines = Lines::new(set.format);
    while let Some(chunk) = content.next().await? {
        lines.update(&chunk);
    }
    let digest = content.finish().await?;
    Ok(difference(set, digest.bytes(), &digest.sha256(), lines.rows()))
}

/// What differs from the manifest, for people; `None` if nothing does.
pub fn difference(set: &SetManifest, bytes: u64, sha256: &str, rows: u64) -> Option<String> {
    if bytes != set.bytes {
        return Some(format!("{bytes} bytes are stored, the manifest says {}", set.bytes));
    }
    if sha256 != set.sha256 {
        return Some(format!("its SHA-256 is {sha256}, the manifest says {}", set.sha256));
    }
    (rows != set.rows).then(|| format!("it has {rows} rows, the manifest says {}", set.rows))
}
