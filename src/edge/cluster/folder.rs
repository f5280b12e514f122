//! The short-named temporary folder of one private cluster: its socket, and for most its data.
//!
//! It is locked for as long as its owner lives, and the system lets go of the lock at the owner's end, however
//! that comes; so a folder whose lock is free is a dead cluster's, and the next start sweeps it. What is easy to
//! get wrong: a Unix socket's path has room for 107 bytes, and some systems' temporary folder uses up most of it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    account::{Account, outside},
    watchdog,
};
use crate::error::Result;

const PREFIX: &str = "sexton-";
const LOCK: &str = "lock";

/// The longest path of a folder that leaves room for `/.s.PGSQL.65535.lock` within macOS's 103 bytes.
const PATH_BYTES_MAX: usize = 80;

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes a folder that belongs to `account`, and removes those whose owners have died.
    pub(super) fn create(account: &Account) -> Result<Folder> {
        let base = base(account);
        sweep(&base, account);
        let path = loop {
            let name: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
            let path = base.join(format!("{PREFIX}{}", name.to_lowercase()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(outside("cannot create the folder", &path, error)),
            }
        };
        let lock = lock(&path).inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        let folder = Folder { path, _lock: lock };
        account.own(&folder.path)?;
        Ok(folder)
    }

    /// Where it is; absolute and without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process that was killed a moment ago may still add a file, which makes the removal fail once.
        for _ in 0..50 {
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
        tracing::warn!(folder = %self.path.display(), "cluster.remove_failed");
    }
}

/// The system's temporary folder, unless its name is long or the account may not write there.
fn base(account: &Account) -> PathBuf {
    let short = Path::new("/tmp").to_owned();
    let usual = fs::canonicalize(std::env::temp_dir()).unwrap_or_else(|_| short.clone());
    let fits = usual.as_os_str().len() + 1 + PREFIX.len() + 8 <= PATH_BYTES_MAX;
    if fits && account.may_write_in(&usual) { usual } else { fs::canonicalize(&short).unwrap_or(short) }
}

/// Locks the folder. The file gets its name only once it is locked, so that no sweep comes in between.
fn lock(folder: &Path) -> Result<File> {
    let (new, path) = (folder.join("lock.new"), folder.join(LOCK));
    let make = || {
        let file = File::create_new(&new)?;
        file.lock()?;
        fs::rename(&new, &path)?;
        Ok(file)
    };
    make().map_err(|error: io::Error| outside("cannot lock", &path, error))
}

/// Ends and removes the clusters below `base` whose owners have died. What cannot be swept is left alone: it
/// is no reason not to start.
fn sweep(base: &Path, account: &Account) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if is_abandoned(&path, account) {
            match watchdog::clean(account, &path) {
                Ok(()) => tracing::debug!(folder = %path.display(), "cluster.swept"),
                Err(error) => tracing::debug!(folder = %path.display(), %error, "cluster.sweep_failed"),
            }
        }
    }
}

/// Whether this is a folder of ours whose lock is free.
fn is_abandoned(path: &Path, account: &Account) -> bool {
    let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    let owned = || fs::symlink_metadata(path).is_ok_and(|m| m.is_dir() && m.uid() == account.uid().as_raw());
    named && owned() && File::open(path.join(LOCK)).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_an_owner_is_swept_and_one_with_an_owner_stays() {
        let account = Account::find().unwrap();
        let alive = Folder::create(&account).unwrap();
        let dead = Folder::create(&account).unwrap();
        let left = dead.path().to_owned();
        drop(dead);
        DirBuilder::new().mode(0o700).create(&left).unwrap();
        File::create(left.join(LOCK)).unwrap();
        account.own(&left).unwrap();

        let next = Folder::create(&account).unwrap();
        assert!(!left.exists());
        assert!(alive.path().join(LOCK).exists());
        assert!(next.path().join(LOCK).exists());
    }

    #[test]
    fn a_socket_fits_in() {
        let folder = Folder::create(&Account::find().unwrap()).unwrap();
        assert!(folder.path().join(".s.PGSQL.65535").as_os_str().len() <= 103);
    }
}
