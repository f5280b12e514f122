//! The archives that lie in a storage.
//!
//! What is easy to get wrong: who removes objects without a receipt must know that their batches never committed. So a run
//! removes those of its own job's earlier holders alone, of whom it has put all receipts that the database knows of.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Receipt, Spot, receipt::NOUN, spot::plain};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::{
        backup::{judged, occurrence_key, root, sealed, unreadable},
        storage::OpenStorage,
    },
};

/// A receipt of a table with very many columns is still smaller than that.
const RECEIPT_BYTES_MAX: u64 = 4 << 20;
/// Receipts that are read at once.
const READ_AT_ONCE: usize = 16;

/// What lies in a storage, below one prefix.
#[derive(Debug, Default)]
pub struct Archive {
    /// Batches whose rows are gone from their tables, the oldest first.
    pub receipts: Vec<Receipt>,
    /// Objects of batches without a receipt.
    pub loose: Vec<String>,
    /// Receipts that cannot be read: their keys, and why.
    pub unreadable: Vec<(String, Error)>,
}

impl Archive {
    /// Lists what there is, of one job and its one-offs or of all. `known` are receipts that the database has.
    ///
    /// # Errors
    /// If the storage refuses or does not answer.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn of(
        storage: &OpenStorage,
        prefix: &str,
        job: Option<&str>,
        known: Vec<Receipt>,
    ) -> Result<Archive> {
        let listed = storage.list(prefix.trim_matches('/')).await?;
        let is_meant = |spot: &Spot| job.is_none_or(|job| spot.owner().is_some_and(|owner| owner.is_of(job)));
        let found: Vec<(Spot, bool, String)> = listed
            .into_iter()
            .filter_map(|object| Spot::of_key(&object.key).map(|(spot, receipt)| (spot, receipt, object.key)))
            .filter(|(spot, ..)| is_meant(spot))
            .collect();
        let keys = found.iter().filter(|(_, receipt, _)| *receipt).map(|(_, _, key)| key);
        let read: Vec<(String, Result<Receipt>)> = stream::iter(keys)
            .map(|key| async move { read(storage, key).await.map(|receipt| (key.clone(), receipt)) })
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await?;
        let mut archive = Archive::default();
        for (key, receipt) in read {
            match receipt {
                Ok(receipt) => archive.receipts.push(receipt),
                Err(error) => archive.unreadable.push((key, error)),
            }
        }
        let mut sure: BTreeSet<Spot> =
            found.iter().filter(|(_, receipt, _)| *receipt).map(|(spot, ..)| spot.clone()).collect();
        let there: BTreeSet<&Spot> = found.iter().map(|(spot, ..)| spot).collect();
        for receipt in known {
            let spot = receipt.spot();
            if there.contains(&spot) && sure.insert(spot) {
                archive.receipts.push(receipt);
            }
        }
        archive.receipts.sort_by_key(|receipt| (receipt.archived_at, receipt.spot()));
        archive
            .loose
            .extend(found.into_iter().filter(|(spot, ..)| !sure.contains(spot)).map(|(.., key)| key));
        Ok(archive)
    }
}

/// Reads a receipt; the inner error is about what it says.
async fn read(storage: &OpenStorage, key: &str) -> Result<Result<Receipt>> {
    let Some(text) = storage.read_small(key, RECEIPT_BYTES_MAX).await? else {
        return Ok(Err(Error::new(ErrorKind::NotFound, "it is gone")));
    };
    let value = serde_json::from_slice(&text).map_err(|cause| unreadable(NOUN, cause));
    let receipt = value.and_then(Receipt::parse).and_then(|receipt| match receipt.spot().receipt() == key {
        true => Ok(receipt),
        false => Err(Error::new(ErrorKind::Outside, "the receipt is of another batch")),
    });
    // Without its key the seal cannot be judged; but then nothing of the batch can be read either.
    Ok(receipt.and_then(|receipt| judged(&receipt, &text, storage.keys()).map(|_| receipt)))
}

/// Writes a receipt; if it is there already, nothing.
///
/// # Errors
/// If its key is not the storage's, or the storage refuses or does not answer.
///
/// # Cancel safety
/// As [`OpenStorage::put_if_absent`].
pub async fn put(storage: &OpenStorage, receipt: &Receipt) -> Result<()> {
    let text = sealed(receipt, storage.keys())?;
    storage.put_if_absent(&receipt.spot().receipt(), text).await.map(|_put| ())
}

/// Removes what holders before `token` wrote to a storage for an occurrence and never committed; all their receipts must
/// be there.
///
/// # Errors
/// If the storage refuses or does not answer.
///
/// # Cancel safety
/// A later call goes on with it.
pub async fn clear(
    storage: &OpenStorage,
    (prefix, job, occurrence): (&str, &str, Timestamp),
    (token, install): ((i64, i64), Uuid),
) -> Result<()> {
    let below = format!("{}/{}", root(prefix, job), occurrence_key(occurrence));
    let name = plain(storage.name());
    let listed = storage.list(&below).await?;
    let found: Vec<(Spot, bool, &str)> = listed
        .iter()
        .filter_map(|object| {
            Spot::of_key(&object.key).map(|(spot, receipt)| (spot, receipt, object.key.as_str()))
        })
        .filter(|(spot, ..)| {
            spot.owner()
                .is_some_and(|owner| owner.install == install && owner.token < token && owner.storage == name)
        })
        .collect();
    let sure: BTreeSet<&Spot> =
        found.iter().filter(|(_, receipt, _)| *receipt).map(|(spot, ..)| spot).collect();
    let keys: Vec<String> =
        found.iter().filter(|(spot, ..)| !sure.contains(spot)).map(|(.., key)| (*key).to_owned()).collect();
    storage.delete(&keys).await?;
    let folders: BTreeSet<&str> = found.iter().map(|(spot, ..)| spot.folder.as_str()).collect();
    for folder in folders {
        storage.delete_unfinished(folder).await?;
    }
    Ok(())
}
