//! Whether the manifest of an encrypted backup is the one that was written.
//!
//! Its seal is the HMAC-SHA256 of its text, by a key derived from the one that its objects are encrypted with; since the
//! manifest has the sum of each object, it is the seal of the whole backup. What is easy to get wrong: the seal stands in
//! the very text that it is of; there, for the sum, are zeros.

use super::{Encryption, Manifest};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::storage::{KeyId, Keyring},
};

const CIPHER: &str = "chacha20-poly1305";
/// What stands for the seal while it is made.
const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is known of a manifest's seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The backup is not encrypted: there is none.
    None,
    /// It is the one that was written.
    Good,
    /// The key of this id, which would tell, is not known here.
    UnknownKey(String),
}

impl Encryption {
    /// By this key; not sealed yet.
    pub fn by(key: KeyId) -> Self {
        Encryption { cipher: CIPHER.to_owned(), key: key.to_string(), mac: UNSEALED.to_owned() }
    }
}

/// The text of a manifest, sealed if the backup is encrypted.
///
/// # Errors
/// If its key is not among `keys`.
pub fn sealed(manifest: &Manifest, keys: &Keyring) -> Result<Vec<u8>> {
    let text = manifest.to_json();
    let Some(encryption) = &manifest.encryption else { return Ok(text) };
    let mac = keys.sign(&encryption.key, &text).ok_or_else(|| unknown_key(&encryption.key))?;
    let encryption = Some(Encryption { mac, ..encryption.clone() });
    Ok(Manifest { encryption, ..manifest.clone() }.to_json())
}

/// What is to be thought of a manifest with this text.
///
/// # Errors
/// If it is another than was written.
pub fn judged(manifest: &Manifest, text: &[u8], keys: &Keyring) -> Result<Seal> {
    let Some(encryption) = &manifest.encryption else { return Ok(Seal::None) };
    let altered =
        || Error::new(ErrorKind::Outside, "the manifest was altered: its seal is not that of its text");
    if encryption.cipher != CIPHER {
        return Err(Error::new(
            ErrorKind::Outside,
            format!("the backup is encrypted by {}", encryption.cipher),
        )
        .with_remedy("use a newer sexton"));
    }
    let text = std::str::from_utf8(text).map_err(|_| altered())?;
    let unsealed = text.replacen(&encryption.mac, UNSEALED, 1);
    match keys.sign(&encryption.key, unsealed.as_bytes()) {
        Some(mac) if mac == encryption.mac => Ok(Seal::Good),
        Some(_) => Err(altered()),
        None => Ok(Seal::UnknownKey(encryption.key.clone())),
    }
}

/// That a key is missing, and what helps; `about` says where.
pub fn unknown_key(key: &str) -> Error {
    Error::new(ErrorKind::Outside, format!("it is encrypted with the key {key}, which is not known here"))
        .with_remedy("name the secret with that key in encrypt_with or decrypt_with of the storage")
}
