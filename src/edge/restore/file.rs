//! A set into a file, as it was exported, unpacked.

use std::path::Path;

use tokio::io::AsyncWriteExt;

use super::{Restored, rotten};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        backup::{Backup, Lines, SetManifest, difference},
        storage::OpenStorage,
    },
};

/// Writes a set to a file. The file must not be there; it appears under its name once all of it was compared with the
/// manifest.
///
/// # Errors
/// If the file is there or cannot be written, or the set is not what the manifest says: there is no file then.
///
/// # Cancel safety
/// Dropping the future may leave half of it behind, as `PATH.partial`.
pub async fn into_file(
    storage: &OpenStorage,
    backup: &Backup,
    set: &SetManifest,
    path: &Path,
) -> Result<Restored> {
    is_free(path)?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    if let Err(error) = unpack(storage, backup, set, partial).await {
        // What is left of it is named by the error that matters.
        drop(tokio::fs::remove_file(partial).await);
        return Err(error);
    }
    tokio::fs::rename(partial, path).await.map_err(|error| unwritable(path, error))?;
    Ok(Restored {
        set: set.name.clone(),
        into: path.display().to_string(),
        rows: set.rows,
        written: set.rows,
    })
}

/// Whether a set may be written there.
///
/// # Errors
/// [`ErrorKind::Refused`] if the file is there.
pub fn is_free(path: &Path) -> Result<()> {
    if path.exists() {
        return Err(Error::new(ErrorKind::Refused, format!("{} is there already", path.display()))
            .with_remedy("name another file, or move that one away"));
    }
    Ok(())
}

async fn unpack(storage: &OpenStorage, backup: &Backup, set: &SetManifest, path: &Path) -> Result<()> {
    let mut file = tokio::fs::File::create(path).await.map_err(|error| unwritable(path, error))?;
    let mut content = storage.open_object(&backup.folder.key(&set.object)).await?;
    let mut lines = Lines::new(set.format);
    while let Some(chunk) = content.next().await? {
        lines.update(&chunk);
        file.write_all(&chunk).await.map_err(|error| unwritable(path, error))?;
    }
    let digest = content.finish().await?;
    if let Some(problem) = difference(set, digest.bytes(), &digest.sha256(), lines.rows()) {
        return Err(rotten(set, &problem));
    }
    file.sync_all().await.map_err(|error| unwritable(path, error))
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Outside, format!("cannot write {}", path.display())).caused_by(error)
}
