//! Whether the manifest of an encrypted backup, or the receipt of an encrypted archive, is the one that was written.
//!
//! Its seal is the HMAC-SHA256 of its text, by a key derived from the one that its objects are encrypted with; since it has
//! the sum of each object, it is the seal of them all. What is easy to get wrong: the seal stands in the very text that it
//! is of; there, for the sum, are zeros.

use super::Encryption;
use crate::{
    error::{Error, ErrorKind, Result},
    outside::storage::{KeyId, Keyring},
};

const CIPHER: &str = "chacha20-poly1305";
/// What stands for the seal while it is made.
const UNSEALED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What may be sealed: a manifest, or a receipt.
pub trait Sealed: Clone {
    /// How its objects are encrypted, if they are.
    fn encryption(&self) -> &Option<Encryption>;

    /// The same, to be set.
    fn encryption_mut(&mut self) -> &mut Option<Encryption>;

    /// Its text.
    fn to_json(&self) -> Vec<u8>;
}

/// What is known of a seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing is encrypted: there is none.
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

/// The text of a manifest or receipt, sealed if its objects are encrypted.
///
/// # Errors
/// If its key is not among `keys`.
pub fn sealed(what: &impl Sealed, keys: &Keyring) -> Result<Vec<u8>> {
    let text = what.to_json();
    let Some(encryption) = what.encryption() else { return Ok(text) };
    let mac = keys.sign(&encryption.key, &text).ok_or_else(|| unknown_key(&encryption.key))?;
    let mut sealed = what.clone();
    *sealed.encryption_mut() = Some(Encryption { mac, ..encryption.clone() });
    Ok(sealed.to_json())
}

/// What is to be thought of a manifest or receipt with this text.
///
/// # Errors
/// If it is another than was written.
pub fn judged(what: &impl Sealed, text: &[u8], keys: &Keyring) -> Result<Seal> {
    let Some(encryption) = what.encryption() else { return Ok(Seal::None) };
    let altered = || Error::new(ErrorKind::Outside, "it was altered: its seal is not that of its text");
    if encryption.cipher != CIPHER {
        return Err(Error::new(ErrorKind::Outside, format!("it is encrypted by {}", encryption.cipher))
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

/// That something is not encrypted where it should be, and what helps.
pub fn not_encrypted() -> Error {
    Error::new(ErrorKind::Refused, "it is not encrypted, though the storage encrypts what is written now")
        .with_remedy("restore it by --unencrypted, if it is from before that")
}
