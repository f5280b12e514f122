//! Decrypting an object on its way from the storage; one that is not encrypted passes as it is.
//!
//! The form is `seal`'s. What is easy to get wrong: nothing of a chunk is passed on before all of it was authenticated, and
//! whether it is the last is asked of the storage, by the byte behind it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use ring::aead::CHACHA20_POLY1305;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::{
    keys::{ID_BYTES, KeyId, Keyring, SALT_BYTES},
    seal::{CHUNK_BYTES, Chunk, Cipher, HEAD_BYTES, MAGIC},
};

/// Why an object cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// Its key is not among those of the storage.
    #[error("it is encrypted with the key {0}, which is not known here")]
    UnknownKey(KeyId),
    /// It is not what was written.
    #[error("it was altered or cut off: it cannot be decrypted")]
    Altered,
}

impl Broken {
    /// What helps, for the storage of this name.
    pub(super) fn remedy(self, storage: &str) -> String {
        match self {
            Broken::UnknownKey(_) => {
                format!("name the secret with that key in decrypt_with of [storages.{storage}]")
            }
            Broken::Altered => "there is no way back from it; use another backup".to_owned(),
        }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, broken)
    }
}

/// Reads what a `Sealer` wrote.
pub(super) struct Unsealer<R> {
    inner: R,
    keys: Arc<Keyring>,
    state: State,
    stored: BytesMut,
    plain: Bytes,
}

enum State {
    Head,
    NotSealed,
    Sealed(Box<Cipher>),
    Over,
}

impl<R> Unsealer<R> {
    pub(super) fn new(inner: R, keys: Arc<Keyring>) -> Self {
        Unsealer { inner, keys, state: State::Head, stored: BytesMut::new(), plain: Bytes::new() }
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    /// The head says with which key to go on, if it is one.
    fn begin(&mut self) -> Result<State, Broken> {
        let head = std::mem::take(&mut self.stored);
        if !head.starts_with(MAGIC) {
            self.plain = head.freeze();
            return Ok(State::NotSealed);
        }
        let rest = &head[MAGIC.len()..];
        let (id, salt) = rest.split_first_chunk::<ID_BYTES>().ok_or(Broken::Altered)?;
        let salt: &[u8; SALT_BYTES] = salt.try_into().map_err(|_| Broken::Altered)?;
        let id = KeyId::from_bytes(*id);
        let key = self.keys.find(id).ok_or(Broken::UnknownKey(id))?;
        Ok(State::Sealed(Box::new(Cipher::new(key.of_object(salt).ok_or(Broken::Altered)?))))
    }
}

/// Reads until so many bytes are there, or no more come.
fn poll_fill(
    from: &mut (impl AsyncRead + Unpin),
    into: &mut BytesMut,
    bytes: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while into.len() < bytes {
        let mut room = into.limit(bytes - into.len());
        if ready!(poll_read_buf(Pin::new(&mut *from), cx, &mut room))? == 0 {
            break;
        }
    }
    Poll::Ready(Ok(()))
}

impl<R: AsyncRead + Unpin> AsyncRead for Unsealer<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let sealed_bytes = CHUNK_BYTES + CHACHA20_POLY1305.tag_len();
        let this = &mut *self;
        while this.plain.is_empty() {
            match &mut this.state {
                State::Head => {
                    ready!(poll_fill(&mut this.inner, &mut this.stored, HEAD_BYTES, cx))?;
                    this.state = this.begin()?;
                }
                State::NotSealed => return Pin::new(&mut this.inner).poll_read(cx, buf),
                State::Over => return Poll::Ready(Ok(())),
                State::Sealed(cipher) => {
                    ready!(poll_fill(&mut this.inner, &mut this.stored, sealed_bytes + 1, cx))?;
                    let more = if this.stored.len() > sealed_bytes { Chunk::More } else { Chunk::Last };
                    let mut chunk = this.stored.split_to(this.stored.len().min(sealed_bytes));
                    let length = cipher.open(&mut chunk, more).ok_or(Broken::Altered)?;
                    chunk.truncate(length);
                    this.plain = chunk.freeze();
                    if more == Chunk::Last {
                        this.state = State::Over;
                    }
                }
            }
        }
        let count = this.plain.len().min(buf.remaining());
        buf.put_slice(&this.plain.split_to(count));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{
        super::{Digest, keys::Key, seal::Sealer},
        *,
    };
    use crate::outside::Secret;

    fn key(digits: &str) -> Key {
        Key::parse(&Secret::new(digits)).expect("a key")
    }

    fn counting() -> Key {
        key(&(0..32).map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    async fn sealed(plain: &[u8], key: Option<&Key>) -> Vec<u8> {
        let mut sealer = Sealer::salted(Vec::new(), key, &[7; SALT_BYTES]).expect("a sealer");
        sealer.write_all(plain).await.expect("it is written");
        sealer.shutdown().await.expect("it is ended");
        sealer.inner().clone()
    }

    async fn opened(sealed: &[u8], key: Option<Key>) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let keys = Arc::new(Keyring::holding(key));
        Unsealer::new(sealed, keys).read_to_end(&mut plain).await.map(|_| plain)
    }

    fn plain(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| u8::try_from(at * 7 % 251).expect("a byte")).collect()
    }

    /// The sums are those of another program, written after the description of the form.
    #[tokio::test]
    async fn the_form_is_the_one_that_is_described() {
        for (bytes, sum) in [
            (0, "0d09d73409fb24378c2610881b028e0e8661b7ee22a3b2ab9ad561ae540d70dd"),
            (65_536, "aed207239f9bb4f6e6f816f2cada90719f0660ea8a94a5739025b12dd81f9fbf"),
            (65_537, "2b2fa7809fbf4c08cac41c89cf7515fa3b3f59dc8dfaed7848b1c93d1d596e40"),
            (131_072, "21fe66e95627abd1ae64a27fa83944b9b9b839197142fb8dfb9fed2816e84fb8"),
            (150_000, "92e1d7da4ef76ec9ec1f151c00ce5c3643ec710a61ab4eab4bbbdacbc8d9f61f"),
        ] {
            let (plain, mut digest) = (plain(bytes), Digest::default());
            let sealed = sealed(&plain, Some(&counting())).await;
            digest.update(&sealed);
            assert_eq!(digest.sha256(), sum, "{bytes} bytes");
            assert_eq!(opened(&sealed, Some(counting())).await.expect("it opens"), plain);
        }
    }

    #[tokio::test]
    async fn what_is_not_sealed_passes_with_or_without_a_key() {
        for bytes in [0, 1, 39, 40, 41, 100_000] {
            let plain = plain(bytes);
            let stored = sealed(&plain, None).await;
            assert_eq!(stored, plain);
            assert_eq!(opened(&stored, Some(counting())).await.expect("it passes"), plain);
        }
    }

    #[tokio::test]
    async fn what_is_altered_or_cut_off_anywhere_is_told() {
        let sealed = sealed(&plain(150_000), Some(&counting())).await;
        let chunk = CHUNK_BYTES + 16;
        let ends = [HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + chunk, HEAD_BYTES + 2 * chunk, sealed.len() - 1];
        let mut broken: Vec<Vec<u8>> = ends.iter().map(|end| sealed[..*end].to_vec()).collect();
        for at in [MAGIC.len() + ID_BYTES, HEAD_BYTES, HEAD_BYTES + chunk, sealed.len() - 1] {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            broken.push(flipped);
        }
        broken.push([sealed.as_slice(), b"more"].concat());
        let (head, chunks) = sealed.split_at(HEAD_BYTES);
        broken.push([head, &chunks[chunk..2 * chunk], &chunks[..chunk], &chunks[2 * chunk..]].concat());
        for (index, broken) in broken.iter().enumerate() {
            let error = opened(broken, Some(counting())).await.expect_err("it is broken");
            assert_eq!(error.to_string(), Broken::Altered.to_string(), "the case {index}");
        }
    }

    #[tokio::test]
    async fn another_key_is_told_by_its_id() {
        let sealed = sealed(b"rows", Some(&counting())).await;
        for other in [None, Some(key(&"0f".repeat(32)))] {
            let error = opened(&sealed, other).await.expect_err("another key");
            assert!(error.to_string().contains(&counting().id().to_string()), "{error}");
        }
    }
}
