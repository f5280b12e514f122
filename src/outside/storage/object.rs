//! Reading one object back: hashed as it is stored, decrypted if it is encrypted, and unpacked.
//!
//! What is easy to get wrong: the unpacker may stop before the last stored byte, so what follows is read too before the
//! sum is taken; or bytes appended to an object would pass unseen.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_compression::tokio::bufread::ZstdDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream::BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader, ReadBuf};
use tokio_util::io::StreamReader;

use super::{Digest, Place, failed, keys::Keyring, unseal::Unsealer};
use crate::error::{Error, Result};

/// How much is unpacked at a time.
const CHUNK_BYTES: usize = 128 << 10;

type Stored = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

/// An object that is being read.
pub struct Content {
    storage: Place,
    key: String,
    decoder: ZstdDecoder<BufReader<Unsealer<Hashed>>>,
}

impl Content {
    pub(super) fn new(
        storage: Place,
        key: String,
        keys: Arc<Keyring>,
        stored: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Self {
        let stored = StreamReader::new(stored.map(|part| part.map_err(io::Error::from)).boxed());
        let hashed = Hashed { stored, digest: Digest::default() };
        let plain = Unsealer::new(hashed, keys);
        let mut decoder = ZstdDecoder::new(BufReader::with_capacity(CHUNK_BYTES, plain));
        decoder.multiple_members(true);
        Content { storage, key, decoder }
    }

    /// The next of what was written; `None` at its end.
    ///
    /// # Errors
    /// If the storage does not answer, or what it holds cannot be decrypted or unpacked.
    ///
    /// # Cancel safety
    /// Dropping the future may lose a chunk.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match self.decoder.read_buf(&mut chunk).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(chunk.freeze())),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Reads what is left, and gives the sum of all that is stored.
    ///
    /// # Errors
    /// As [`Content::next`].
    ///
    /// # Cancel safety
    /// Safe: it can be read anew.
    pub async fn finish(mut self) -> Result<Digest> {
        while self.next().await?.is_some() {}
        let mut rest = BytesMut::with_capacity(CHUNK_BYTES);
        loop {
            rest.clear();
            match self.decoder.get_mut().read_buf(&mut rest).await {
                Ok(0) => return Ok(self.decoder.get_ref().get_ref().inner().digest.clone()),
                Ok(_) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        failed(&self.storage, &format!("cannot read {}", self.key), &error)
    }
}

/// Hashes what is stored, on its way to whoever decrypts it.
struct Hashed {
    stored: Stored,
    digest: Digest,
}

impl AsyncRead for Hashed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stored).poll_read(cx, buf);
        self.digest.update(&buf.filled()[before..]);
        read
    }
}
