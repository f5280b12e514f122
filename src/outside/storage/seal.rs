//! Encrypting an object on its way to the storage.
//!
//! The form, all of it: the 16 bytes `sexton sealed 1\n`, the 8 of the key's id, 16 of salt, and then chunks. A chunk is
//! 64 KiB of the (compressed) object, the last one what is left, encrypted by ChaCha20-Poly1305 and so 16 bytes longer. An
//! object has a key of its own: HKDF-SHA256 of the storage's key, with the salt and the purpose `sexton object`. A chunk's
//! nonce is its number in 11 bytes, highest first, and one that is 1 for the last chunk and else 0 (the construction
//! STREAM). What is easy to get wrong: a chunk is sealed only when it is known whether another follows; by that a reader
//! tells an object that was cut off between two chunks.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ring::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand::{SecureRandom, SystemRandom},
};
use tokio::io::AsyncWrite;

use super::keys::{ID_BYTES, Key, SALT_BYTES};

pub(super) const MAGIC: &[u8; 16] = b"sexton sealed 1\n";
pub(super) const HEAD_BYTES: usize = MAGIC.len() + ID_BYTES + SALT_BYTES;
/// A chunk as it is.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Whether a chunk is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    More,
    Last,
}

/// The key of one object, and the number of its next chunk.
pub(super) struct Cipher {
    key: LessSafeKey,
    number: u64,
}

impl Cipher {
    pub(super) fn new(key: LessSafeKey) -> Self {
        Cipher { key, number: 0 }
    }

    fn nonce(&mut self, chunk: Chunk) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(chunk == Chunk::Last);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, text: &mut Vec<u8>, chunk: Chunk) -> io::Result<()> {
        let nonce = self.nonce(chunk);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), text);
        sealed.map_err(|_| io::Error::other("cannot encrypt"))
    }

    /// Decrypts a chunk where it stands; `None` if it is not what was sealed.
    pub(super) fn open(&mut self, text: &mut [u8], chunk: Chunk) -> Option<usize> {
        let nonce = self.nonce(chunk);
        self.key.open_in_place(nonce, Aad::empty(), text).ok().map(|text| text.len())
    }
}

/// Passes on what is written to it: encrypted, if there is a key.
pub(super) struct Sealer<W> {
    inner: W,
    seal: Option<Seal>,
}

struct Seal {
    cipher: Cipher,
    /// Not sealed yet.
    chunk: Vec<u8>,
    /// Sealed, and written up to `sent`.
    sealed: Vec<u8>,
    sent: usize,
    is_over: bool,
}

impl<W> Sealer<W> {
    /// # Errors
    /// If the machine has no random bytes for the salt.
    pub(super) fn new(inner: W, key: Option<&Key>) -> io::Result<Self> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("no random bytes"))?;
        Self::salted(inner, key, &salt)
    }

    pub(super) fn salted(inner: W, key: Option<&Key>, salt: &[u8; SALT_BYTES]) -> io::Result<Self> {
        let Some(key) = key else { return Ok(Sealer { inner, seal: None }) };
        let cipher = key.of_object(salt).ok_or_else(|| io::Error::other("cannot derive a key"))?;
        let mut sealed = Vec::with_capacity(CHUNK_BYTES + 16);
        sealed.extend_from_slice(MAGIC);
        sealed.extend_from_slice(key.id().as_bytes());
        sealed.extend_from_slice(salt);
        let chunk = Vec::with_capacity(CHUNK_BYTES + 16);
        let seal = Seal { cipher: Cipher::new(cipher), chunk, sealed, sent: 0, is_over: false };
        Ok(Sealer { inner, seal: Some(seal) })
    }

    pub(super) fn inner(&self) -> &W {
        &self.inner
    }

    pub(super) fn inner_mut(&mut self) -> &mut W {
        &mut self.inner
    }
}

impl<W: AsyncWrite + Unpin> Sealer<W> {
    /// Writes what is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(seal) = &mut self.seal else { return Poll::Ready(Ok(())) };
        while seal.sent < seal.sealed.len() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &seal.sealed[seal.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => seal.sent += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Seal {
    /// Seals the chunk; what was sealed before must have been written.
    fn seal(&mut self, chunk: Chunk) -> io::Result<()> {
        self.cipher.seal(&mut self.chunk, chunk)?;
        std::mem::swap(&mut self.chunk, &mut self.sealed);
        self.chunk.clear();
        self.sent = 0;
        Ok(())
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Sealer<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.seal.as_ref().is_some_and(|seal| seal.chunk.len() == CHUNK_BYTES) && !buf.is_empty() {
            ready!(self.poll_send(cx))?;
            if let Some(seal) = &mut self.seal {
                seal.seal(Chunk::More)?;
            }
        }
        let Some(seal) = &mut self.seal else { return Pin::new(&mut self.inner).poll_write(cx, buf) };
        let count = buf.len().min(CHUNK_BYTES - seal.chunk.len());
        seal.chunk.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if let Some(seal) = self.seal.as_mut().filter(|seal| !seal.is_over) {
            seal.seal(Chunk::Last)?;
            seal.is_over = true;
            ready!(self.poll_send(cx))?;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
