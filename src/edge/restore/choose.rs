//! Which backup is meant.
//!
//! What is easy to get wrong: "the latest" is the latest of which nothing is missing; and with the backups of several jobs
//! in a storage, there is no latest before the job is named.

use std::collections::BTreeSet;

use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        backup::{Backup, Seal, Shelf, not_encrypted, unknown_key},
        storage::OpenStorage,
    },
};

/// Which backups are meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Below this prefix; empty means all of the storage.
    pub prefix: String,
    /// Of this job; none means any.
    pub job: Option<String>,
    /// The beginning of its id; none means the latest.
    pub id: Option<String>,
    /// Whether it may be one that is not encrypted, though the storage encrypts what is written now.
    pub unencrypted: bool,
}

/// What was found in a storage.
pub struct Choice {
    /// Whether the storage encrypts what is written now.
    encrypts: bool,
    /// Backups, newest first.
    pub backups: Vec<Backup>,
    /// Manifests that cannot be read: their keys, and why.
    pub unreadable: Vec<(String, Error)>,
}

const LIST: &str = "`sexton restore --storage NAME --list` shows what is there";

impl Choice {
    /// Looks for backups.
    ///
    /// # Errors
    /// If the storage does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn of(storage: &OpenStorage, wanted: &Wanted) -> Result<Choice> {
        let shelf = Shelf::of(storage, &wanted.prefix, None).await?;
        let (mut backups, unreadable) = shelf.backups().await?;
        backups.retain(|backup| wanted.job.as_ref().is_none_or(|job| *job == backup.manifest.job));
        if let Some(id) = wanted.id.as_deref().filter(|id| *id != "latest") {
            let id = id.to_lowercase();
            backups.retain(|backup| backup.manifest.run_id.to_string().starts_with(&id));
        }
        Ok(Choice { encrypts: storage.keys().present_id().is_some(), backups, unreadable })
    }

    /// The one backup that is meant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Invalid`] if there are several that it could be,
    /// [`ErrorKind::Outside`] if something of it or its key is missing, [`ErrorKind::Refused`] if it should be encrypted
    /// and is not.
    pub fn one(self, wanted: &Wanted) -> Result<Backup> {
        let encrypts = self.encrypts && !wanted.unencrypted;
        let backup = self.meant(wanted)?;
        let about = |error: Error| Err(error.about(format!("backup {}", backup.manifest.run_id)));
        match &backup.seal {
            Seal::UnknownKey(key) => about(unknown_key(key)),
            Seal::None if encrypts => about(not_encrypted()),
            Seal::None | Seal::Good => Ok(backup),
        }
    }

    fn meant(mut self, wanted: &Wanted) -> Result<Backup> {
        if let Some(id) = wanted.id.as_deref().filter(|id| *id != "latest") {
            return match self.backups.len() {
                0 => {
                    Err(Error::new(ErrorKind::NotFound, format!("there is no backup {id}")).with_remedy(LIST))
                }
                1 => whole(self.backups.remove(0)),
                more => Err(Error::invalid(format!("{id} is the beginning of {more} backups' ids"))
                    .with_remedy("write more of it")),
            };
        }
        let jobs: BTreeSet<&str> = self.backups.iter().map(|backup| backup.manifest.job.as_str()).collect();
        if jobs.len() > 1 {
            let jobs = jobs.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid(format!("there are backups of several jobs: {jobs}"))
                .with_remedy("name one by --job, or a backup by its id"));
        }
        let latest = self.backups.iter().position(Backup::is_whole);
        latest
            .map(|index| self.backups.remove(index))
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no backup").with_remedy(LIST))
    }
}

fn whole(backup: Backup) -> Result<Backup> {
    if backup.is_whole() {
        return Ok(backup);
    }
    let message =
        format!("sets are missing, or not of the size that the manifest says: {}", backup.missing.join(", "));
    Err(Error::new(ErrorKind::Outside, message).about(format!("backup {}", backup.manifest.run_id)))
}
