//! Storages: the named places, a folder or an S3-compatible bucket, where backups and archives go.
//!
//! A storage knows keys (`a/b/c`, below its prefix) and nothing of what stands in the objects. What is easy to get wrong:
//! an object that is being written must not be taken for one that is complete, and a writer that is dropped half way must
//! not leave parts behind that nobody lists and everybody pays for; see [`Upload`].

mod digest;
mod upload;
mod object;
mod keys;
mod seal;
mod unseal;
mod folder;
mod s3;

use std::{fmt, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path as StorePath};

pub use digest::Digest;
pub use keys::{KeyId, Keyring};
pub use object::Content;
pub use upload::{Upload, Written};

use super::{Contents, Secret, storages};
use crate::error::{Error, ErrorKind, Result};

/// How large the parts of an upload are, and so about a third of what one holds in memory; S3 takes 10,000 parts, so an
/// object may have 160 GB.
const PART_BYTES: usize = 16 << 20;

/// Whether an object was written, or one was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It was not there, and now it is.
    Created,
    /// Somebody else wrote it before; theirs stands.
    Present,
}

/// An object as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key, below the storage's prefix.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the storage's clock.
    pub written_at: Timestamp,
}

/// A storage as errors speak of it.
#[derive(Clone)]
struct Place {
    name: Arc<str>,
    /// What the storage was shown, which its answers may quote.
    hidden: Arc<[Secret]>,
}

/// An open storage. Cheap to clone.
#[derive(Clone)]
pub struct OpenStorage {
    place: Place,
    store: Arc<dyn ObjectStore>,
    prefix: Arc<str>,
    folder: Option<PathBuf>,
    keys: Arc<Keyring>,
    part_bytes: usize,
}

impl fmt::Debug for OpenStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.place.name)
    }
}

impl OpenStorage {
    /// Opens the storage of this name as the local file has it. A bucket is not asked before the first use.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such storage, or none of the secrets that it names;
    /// [`ErrorKind::Invalid`] if one of them should be a key and is none; [`ErrorKind::Outside`] if the folder is not there, or what is known of the bucket makes no sense.
    pub fn open(name: &str, contents: &Contents) -> Result<OpenStorage> {
        let about = |error: Error| error.about(format!("storage {name}"));
        let storage = contents.storages.get(name).ok_or_else(|| unknown(name, contents))?;
        let keys = Keyring::of(storage, contents).map_err(about)?;
        let (store, prefix, folder): (Arc<dyn ObjectStore>, String, _) = match &storage.place {
            storages::Place::Folder(path) => {
                (Arc::new(folder::open(path).map_err(about)?), String::new(), Some(path))
            }
            storages::Place::Bucket(bucket) => {
                let (store, prefix) = s3::open(bucket, contents).map_err(about)?;
                (Arc::new(store), prefix, None)
            }
        };
        Ok(OpenStorage {
            place: Place { name: name.into(), hidden: hidden(name, contents) },
            store,
            prefix: prefix.into(),
            folder: folder.cloned(),
            keys: Arc::new(keys),
            part_bytes: PART_BYTES,
        })
    }

    /// Uploads in parts of that many bytes instead of 16 MiB; servers take no parts under 5 MiB but the last.
    #[must_use]
    pub fn with_part_bytes(mut self, bytes: usize) -> Self {
        self.part_bytes = bytes;
        self
    }

    /// The name that jobs use.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// What its objects are encrypted with.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Begins an object: what is written is compressed, encrypted if the storage has a key, and streamed; the object is
    /// there once [`Upload::finish`] says so.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `key` cannot be one.
    pub fn upload(&self, key: &str) -> Result<Upload> {
        let path = self.path(key)?;
        let (place, store) = (self.place.clone(), Arc::clone(&self.store));
        Upload::new(place, store, path, self.part_bytes, self.keys.present())
    }

    /// Writes a small object as it is, unless one of this key is there.
    ///
    /// # Errors
    /// If the storage refuses, does not answer, or cannot do this.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether it was written; never half of it.
    pub async fn put_if_absent(&self, key: &str, content: impl Into<Bytes>) -> Result<Put> {
        let path = self.path(key)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, content.into().into(), options).await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Present),
            Err(error) => Err(failed(&self.place, &format!("cannot write {key}"), &error)),
        }
    }

    /// Reads a small object whole; `None` if there is none.
    ///
    /// # Errors
    /// If it is larger than `at_most` bytes, or the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn read_small(&self, key: &str, at_most: u64) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        let what = format!("cannot read {key}");
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(&self.place, &what, &error)),
        };
        if found.meta.size > at_most {
            let message = format!("{key} has {} bytes, more than the {at_most} it may have", found.meta.size);
            return Err(Error::new(ErrorKind::Outside, message).about(format!("storage {}", self.place.name)));
        }
        found.bytes().await.map(Some).map_err(|error| failed(&self.place, &what, &error))
    }

    /// Opens an object that [`OpenStorage::upload`] wrote, to read what was written to it.
    ///
    /// # Errors
    /// If it is not there, or the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open_object(&self, key: &str) -> Result<Content> {
        let found = self.store.get(&self.path(key)?).await;
        let found = found.map_err(|error| failed(&self.place, &format!("cannot read {key}"), &error))?;
        let keys = Arc::clone(&self.keys);
        Ok(Content::new(self.place.clone(), key.to_owned(), keys, found.into_stream()))
    }

    /// All objects below `prefix` (a folder, not the beginning of a name), in the order of their keys.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let path = self.path(prefix)?;
        let found: Vec<_> = self
            .store
            .list(Some(&path))
            .try_collect()
            .await
            .map_err(|error| failed(&self.place, &format!("cannot list {prefix}"), &error))?;
        let mut listed: Vec<Listed> = found
            .into_iter()
            .filter_map(|meta| {
                let key = self.key(meta.location.as_ref())?;
                let written_at = Timestamp::from_second(meta.last_modified.timestamp()).ok()?;
                Some(Listed { key, bytes: meta.size, written_at })
            })
            .collect();
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    /// Deletes these objects; one that is gone already is no error.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open which of them are gone.
    pub async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            match self.store.delete(&self.path(key)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(&self.place, &format!("cannot delete {key}"), &error)),
            }
        }
        Ok(())
    }

    /// Deletes everything below `prefix`, and what a folder holds of uploads that were killed half way.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// As [`OpenStorage::delete`].
    pub async fn delete_prefix(&self, prefix: &str) -> Result<()> {
        let path = self.path(prefix)?;
        if path.as_ref().is_empty() {
            return Err(Error::invalid("an empty prefix is the whole storage").about("delete_prefix"));
        }
        if let Some(folder) = &self.folder {
            let folder = folder.join(path.as_ref());
            let removed = tokio::task::spawn_blocking(move || folder::remove(&folder)).await;
            let removed = removed.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            return removed.map_err(|error| {
                Error::new(ErrorKind::Outside, format!("cannot delete {prefix}"))
                    .about(format!("storage {}", self.place.name))
                    .caused_by(error)
            });
        }
        let paths: Vec<_> = self.store.list(Some(&path)).map_ok(|meta| meta.location).boxed().collect().await;
        for path in paths {
            let path = path.map_err(|error| failed(&self.place, &format!("cannot list {prefix}"), &error))?;
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(&self.place, &format!("cannot delete {path}"), &error)),
            }
        }
        Ok(())
    }

    /// Deletes what writers that were killed half way left in a folder, which no list shows; a bucket keeps such parts where
    /// only its lifecycle rules reach. A writer that is still at it fails when it is done.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    ///
    /// # Cancel safety
    /// As [`OpenStorage::delete`].
    pub async fn delete_unfinished(&self, prefix: &str) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let folder = folder.join(self.path(prefix)?.as_ref());
        let removed = tokio::task::spawn_blocking(move || folder::remove_staged(&folder)).await;
        removed.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| {
            Error::new(ErrorKind::Outside, format!("cannot delete what is unfinished in {prefix}"))
                .about(format!("storage {}", self.place.name))
                .caused_by(error)
        })
    }

    /// `Path::join` would make one segment of `a/b`, hence the text.
    fn path(&self, key: &str) -> Result<StorePath> {
        let whole = match (self.prefix.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.prefix.to_string(),
            (false, false) => format!("{}/{key}", self.prefix),
        };
        StorePath::parse(&whole).map_err(|error| {
            Error::invalid(format!("{whole:?} is no key"))
                .about(format!("storage {}", self.place.name))
                .caused_by(error)
        })
    }

    fn key(&self, path: &str) -> Option<String> {
        if self.prefix.is_empty() {
            return Some(path.to_owned());
        }
        Some(path.strip_prefix(&*self.prefix)?.strip_prefix('/')?.to_owned())
    }
}

fn unknown(name: &str, contents: &Contents) -> Error {
    let known: Vec<&str> = contents.storages.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Error::new(ErrorKind::NotFound, format!("no storage \"{name}\" is known here; known: {known}"))
        .with_remedy(format!("add [storages.{name}] to the replica's local file"))
}

/// The secrets of a storage.
fn hidden(name: &str, contents: &Contents) -> Arc<[Secret]> {
    let Some(storages::Place::Bucket(bucket)) = contents.storages.get(name).map(|storage| &storage.place)
    else {
        return Arc::default();
    };
    let named = [&bucket.access_key_id, &bucket.secret_access_key].into_iter().flatten();
    named.filter_map(|name| contents.secrets.get(name).ok().cloned()).collect()
}

/// Servers quote what they were sent: S3 itself tells the key's id of a request that it turns away.
fn strike_out(text: String, hidden: &[Secret]) -> String {
    hidden.iter().fold(text, |text, secret| text.replace(secret.expose(), "[secret]"))
}

/// What the client library reports, with what helps. Its texts hold those of their causes, so the causes are left out.
fn failed(storage: &Place, what: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    // Judged before secrets are struck out of it: a short one may be part of any word.
    let text = error.to_string();
    let denied = ["403 Forbidden", "401 Unauthorized"].iter().any(|status| text.contains(status));
    let text = strike_out(text, &storage.hidden);
    let remedy = match denied {
        true => "check the storage's access_key_id and secret_access_key, and what they may do in the bucket"
            .to_owned(),
        false => remedy(storage, error),
    };
    Error::new(ErrorKind::Outside, format!("{what}: {text}"))
        .about(format!("storage {}", storage.name))
        .with_remedy(remedy)
}

fn remedy(storage: &Place, error: &(dyn std::error::Error + 'static)) -> String {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if let Some(broken) = within.and_then(|error| error.downcast_ref::<unseal::Broken>()) {
        return broken.remedy(&storage.name);
    }
    let remedy = match error.downcast_ref::<object_store::Error>() {
        Some(object_store::Error::NotFound { .. }) => "check that the bucket and the object are there",
        Some(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
            "the storage must take a write on condition that nothing is there (If-None-Match)"
        }
        _ => "see whether the storage can be reached from here and has room",
    };
    remedy.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_quotes_of_the_secrets_is_struck_out() {
        let place = Place {
            name: "offsite".into(),
            hidden: [Secret::new("AKIA123"), Secret::new("k/e+y")].into_iter().collect(),
        };
        let answer =
            std::io::Error::other("403 Forbidden: <AWSAccessKeyId>AKIA123</AWSAccessKeyId>, not k/e+y");
        let said = failed(&place, "cannot write a", &answer).to_string();
        assert!(said.contains("<AWSAccessKeyId>[secret]</AWSAccessKeyId>, not [secret]"), "{said}");
    }
}
