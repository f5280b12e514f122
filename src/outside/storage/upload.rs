//! Writing one object: compressed, encrypted if the storage has a key, hashed, in parts, and never half.
//!
//! Memory is bounded by three parts, whatever the size. What is easy to get wrong: a multipart upload that is dropped stays
//! on the server, invisible and paid for; so every way out but [`Upload::finish`] aborts it, and a drop spawns that.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_compression::tokio::write::ZstdEncoder;
use object_store::{ObjectStore, buffered::BufWriter, path::Path as StorePath};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Digest, Place, failed, keys::Key, seal::Sealer};
use crate::error::{Error, Result};

/// Parts under way at once, besides the one that is being filled.
const PARTS_AT_ONCE: usize = 2;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What was written to it, before compression.
    pub plain_bytes: u64,
    /// What is stored.
    pub bytes: u64,
    /// The SHA-256 of what is stored, in hexadecimal digits.
    pub sha256: String,
}

/// An object that is being written; it is not there before [`Upload::finish`].
pub struct Upload {
    storage: Place,
    key: String,
    encoder: Option<ZstdEncoder<Sealer<Sink>>>,
    plain_bytes: u64,
}

impl Upload {
    pub(super) fn new(
        storage: Place,
        store: Arc<dyn ObjectStore>,
        path: StorePath,
        part_bytes: usize,
        key: Option<&Key>,
    ) -> Result<Self> {
        let name = path.to_string();
        let inner = BufWriter::with_capacity(store, path, part_bytes).with_max_concurrency(PARTS_AT_ONCE);
        let sink = Sink { inner, digest: Digest::default() };
        let sealer = Sealer::new(sink, key)
            .map_err(|error| failed(&storage, &format!("cannot write {name}"), &error))?;
        Ok(Upload { storage, key: name, encoder: Some(ZstdEncoder::new(sealer)), plain_bytes: 0 })
    }

    /// Writes on; waits for the storage where it is slower.
    ///
    /// # Errors
    /// If the storage refuses or does not answer: the upload is then to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the upload fit for nothing but being dropped.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(encoder) = self.encoder.as_mut() else {
            return Err(self.failed(io::Error::other("is over")));
        };
        let written = encoder.write_all(bytes).await;
        self.plain_bytes += bytes.len() as u64;
        written.map_err(|error| self.failed(error))
    }

    /// Ends the object. Only after this it is there, durably.
    ///
    /// # Errors
    /// If the storage refuses or does not answer: there is no object then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the object is there; never half of it.
    pub async fn finish(mut self) -> Result<Written> {
        let Some(mut encoder) = self.encoder.take() else {
            return Err(self.failed(io::Error::other("is over")));
        };
        // From here on the client library aborts by itself where a part or the end fails.
        encoder.shutdown().await.map_err(|error| self.failed(error))?;
        let digest = &encoder.get_ref().inner().digest;
        Ok(Written { plain_bytes: self.plain_bytes, bytes: digest.bytes(), sha256: digest.sha256() })
    }

    /// Gives it up, and waits until the storage has forgotten it; where it does not, its own rule for abandoned uploads
    /// is what helps.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it to the storage's rule.
    pub async fn abort(mut self) {
        if let Some(encoder) = self.encoder.take() {
            give_up(encoder, self.storage.clone(), std::mem::take(&mut self.key)).await;
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        failed(&self.storage, &format!("cannot write {}", self.key), &error)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(encoder), Ok(runtime)) = (self.encoder.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(give_up(encoder, self.storage.clone(), std::mem::take(&mut self.key)));
    }
}

async fn give_up(mut encoder: ZstdEncoder<Sealer<Sink>>, storage: Place, key: String) {
    if let Err(error) = encoder.get_mut().inner_mut().inner.abort().await {
        let error = failed(&storage, "cannot give it up", &error);
        tracing::debug!(key, %error, "upload.abort_failed");
    }
}

/// Hashes what the sealer gives, on its way to the storage.
struct Sink {
    inner: BufWriter,
    digest: Digest,
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &written {
            self.digest.update(&buf[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
