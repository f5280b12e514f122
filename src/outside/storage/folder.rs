//! A folder as a storage.
//!
//! What is easy to get wrong: a folder that is not there is never made, since a mount that is missing looks the same; and
//! the library that writes to it leaves, where it is killed, files that its lists do not show.

use std::{fs, io, path::Path};

use object_store::local::LocalFileSystem;

use crate::error::{Error, ErrorKind, Result};

/// Opens a folder as a storage.
///
/// # Errors
/// If it is not there or cannot be used.
pub(super) fn open(path: &Path) -> Result<LocalFileSystem> {
    if !path.is_dir() {
        return Err(Error::new(ErrorKind::Outside, format!("the folder {} is not there", path.display()))
            .with_remedy("create it, or mount what belongs there; it is not made, since a missing mount looks the same"));
    }
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| {
        Error::new(ErrorKind::Outside, format!("cannot use the folder {}", path.display())).caused_by(error)
    })?;
    Ok(store.with_fsync(true))
}

/// Removes a folder with all that is in it; one that is not there is no error.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what killed writers left: until an object is complete, the client library writes to `NAME#NUMBER` beside it; no key of ours has a `#`.
pub(super) fn remove_staged(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        if number.is_some_and(|number| number.parse::<u64>().is_ok()) && entry.file_type()?.is_file() {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}
