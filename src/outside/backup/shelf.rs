//! The backups that lie in a storage, and what lies there besides.
//!
//! What is easy to get wrong: a folder without a manifest may be one that a frozen replica will go on with. So before its
//! objects are deleted, its manifest is taken: written as "abandoned", if none is there. Whoever comes to write his finds it
//! taken, and has no backup; if he was quicker, it is a backup, and stays. The same write on condition decides for both.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Folder, Manifest, Seal,
    layout::{BEGUN, MANIFEST, root},
    seal,
};
use crate::{
    error::{Error, Result},
    outside::storage::{Listed, OpenStorage, Put},
};

/// A manifest of very many sets is still smaller than that.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// How long the mark of an abandoned folder stays: longer than any replica can be frozen and still write.
const ABANDONED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The objects of one storage, below one prefix, as they were listed.
pub struct Shelf {
    storage: OpenStorage,
    folders: BTreeMap<Folder, Vec<Listed>>,
}

/// A backup with its manifest.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Where it lies.
    pub folder: Folder,
    /// What it is made of.
    pub manifest: Manifest,
    /// Whether it is encrypted, and its manifest the one that was written.
    pub seal: Seal,
    /// What is missing of it, by the sizes in the list; empty if nothing is.
    pub missing: Vec<String>,
}

impl Backup {
    /// Whether all of it is there. Whether it is sound only reading tells ([`verify_set`](super::verify_set)).
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A folder without a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debris {
    /// Where it lies.
    pub folder: Folder,
    /// Bytes in it.
    pub bytes: u64,
}

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    install_id: Uuid,
    run_id: Uuid,
}

/// The mark in place of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Abandoned {
    abandoned_by: Uuid,
}

impl Shelf {
    /// Lists what lies below `prefix`, of one job or of all.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn of(storage: &OpenStorage, prefix: &str, job: Option<&str>) -> Result<Shelf> {
        let below = job.map_or_else(|| prefix.trim_matches('/').to_owned(), |job| root(prefix, job));
        let mut folders: BTreeMap<Folder, Vec<Listed>> = BTreeMap::new();
        for listed in storage.list(&below).await? {
            if let Some(folder) = Folder::of_key(&listed.key) {
                folders.entry(folder).or_default().push(listed);
            }
        }
        Ok(Shelf { storage: storage.clone(), folders })
    }

    /// All backups, newest first, and the manifests that cannot be read or were altered, with why.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn backups(&self) -> Result<(Vec<Backup>, Vec<(String, Error)>)> {
        let (mut backups, mut unreadable) = (Vec::new(), Vec::new());
        for (folder, objects) in &self.folders {
            let key = folder.key(MANIFEST);
            if !objects.iter().any(|object| object.key == key) {
                continue;
            }
            let Some(text) = self.storage.read_small(&key, MANIFEST_BYTES_MAX).await? else { continue };
            if serde_json::from_slice::<Abandoned>(&text).is_ok() {
                continue;
            }
            let read = Manifest::parse(&text).and_then(|manifest| {
                let seal = seal::judged(&manifest, &text, self.storage.keys())?;
                let missing = missing(&manifest, folder, objects);
                Ok(Backup { folder: folder.clone(), manifest, seal, missing })
            });
            match read {
                Ok(backup) => backups.push(backup),
                Err(error) => unreadable.push((key, error)),
            }
        }
        backups.sort_by_key(|backup| std::cmp::Reverse((backup.manifest.taken_at, backup.folder.token)));
        Ok((backups, unreadable))
    }

    /// Folders of this installation without a manifest, of holders before `token`.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn debris(&self, install: Uuid, token: (i64, i64)) -> Result<Vec<Debris>> {
        let mut debris = Vec::new();
        for (folder, objects) in self.folders.iter().filter(|(folder, _)| folder.token < token) {
            let key = folder.key(MANIFEST);
            if objects.iter().any(|object| object.key == key) {
                continue;
            }
            let begun = self.storage.read_small(&folder.key(BEGUN), MANIFEST_BYTES_MAX).await?;
            let begun = begun.and_then(|text| serde_json::from_slice::<Begun>(&text).ok());
            if begun.is_some_and(|begun| begun.install_id == install) {
                let bytes = objects.iter().map(|object| object.bytes).sum();
                debris.push(Debris { folder: folder.clone(), bytes });
            }
        }
        Ok(debris)
    }

    /// Removes a folder without a backup; nothing, if it has become one meanwhile.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// A later call goes on with it.
    pub async fn remove_debris(&self, debris: &Debris, by: Uuid) -> Result<Put> {
        let mark = serde_json::to_vec(&Abandoned { abandoned_by: by }).unwrap_or_default();
        let taken = self.storage.put_if_absent(&debris.folder.key(MANIFEST), mark).await?;
        if taken == Put::Created {
            self.delete_objects(&debris.folder).await?;
        }
        Ok(taken)
    }

    /// Goes on with what [`Shelf::remove_debris`] left: objects beside the mark of an abandoned folder, and marks that are
    /// older than a week.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// A later call goes on with it.
    pub async fn sweep_abandoned(&self, now: Timestamp) -> Result<()> {
        for (folder, objects) in &self.folders {
            let key = folder.key(MANIFEST);
            let Some(mark) = objects.iter().find(|object| object.key == key && object.bytes < 200) else {
                continue;
            };
            let text = self.storage.read_small(&key, MANIFEST_BYTES_MAX).await?;
            if text.is_none_or(|text| serde_json::from_slice::<Abandoned>(&text).is_err()) {
                continue;
            }
            if now.duration_since(mark.written_at) > ABANDONED_FOR {
                self.storage.delete_prefix(&folder.path).await?;
            } else if objects.len() > 1 {
                self.delete_objects(folder).await?;
            }
        }
        Ok(())
    }

    /// Removes a backup: its manifest first, so that nobody trusts what is going.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// What is left is debris, which a later run removes.
    pub async fn remove(&self, backup: &Backup) -> Result<()> {
        self.storage.delete(&[backup.folder.key(MANIFEST)]).await?;
        // Who it belonged to is deleted last.
        self.delete_all_but(&backup.folder, BEGUN).await?;
        self.storage.delete_prefix(&backup.folder.path).await
    }

    async fn delete_objects(&self, folder: &Folder) -> Result<()> {
        self.delete_all_but(folder, MANIFEST).await
    }

    async fn delete_all_but(&self, folder: &Folder, kept: &str) -> Result<()> {
        let objects = self.storage.list(&folder.path).await?;
        let kept = folder.key(kept);
        let keys: Vec<String> =
            objects.into_iter().map(|object| object.key).filter(|key| *key != kept).collect();
        self.storage.delete(&keys).await?;
        self.storage.delete_unfinished(&folder.path).await
    }
}

/// Claims a folder for a run, before anything else is written to it.
///
/// # Errors
/// If another installation writes to the same place, or the storage refuses or does not answer.
///
/// # Cancel safety
/// As [`OpenStorage::put_if_absent`].
pub async fn begin(storage: &OpenStorage, folder: &str, install_id: Uuid, run_id: Uuid) -> Result<()> {
    let begun = serde_json::to_vec(&Begun { install_id, run_id }).unwrap_or_default();
    match storage.put_if_absent(&format!("{folder}/{BEGUN}"), begun).await? {
        Put::Created => Ok(()),
        Put::Present => Err(Error::new(
            crate::error::ErrorKind::Refused,
            format!("{folder} belongs to another installation, whose job has the same name"),
        )
        .about(format!("storage {}", storage.name()))
        .with_remedy("give each its own params.prefix")),
    }
}

/// Writes the manifest, unless the folder was given up for abandoned meanwhile: from here on it is a backup.
///
/// # Errors
/// If its key is not the storage's, or the storage refuses or does not answer.
///
/// # Cancel safety
/// As [`OpenStorage::put_if_absent`].
pub async fn publish(storage: &OpenStorage, folder: &str, manifest: &Manifest) -> Result<Put> {
    let text = seal::sealed(manifest, storage.keys())?;
    storage.put_if_absent(&format!("{folder}/{MANIFEST}"), text).await
}

fn missing(manifest: &Manifest, folder: &Folder, objects: &[Listed]) -> Vec<String> {
    let differs = |set: &&super::SetManifest| {
        let key = folder.key(&set.object);
        !objects.iter().any(|object| object.key == key && object.bytes == set.bytes)
    };
    manifest.sets.iter().filter(differs).map(|set| set.name.clone()).collect()
}
