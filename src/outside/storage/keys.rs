//! The keys that objects are encrypted with: 32 random bytes each, as hexadecimal digits in a secret of the local file.
//!
//! A key itself encrypts nothing: what does is derived from it by HKDF-SHA256, another for each object and one for
//! manifests. What is easy to get wrong: objects tell their key by its id and not by the secret's name, so that a key that
//! was replaced is found again, whatever its secret is called by then.

use std::fmt;

use ring::{aead, hkdf, hmac};

use super::super::{Contents, Secret, Storage};
use crate::error::{Error, ErrorKind, Result};

/// How long a key's id is.
pub(super) const ID_BYTES: usize = 8;
/// How long an object's salt is.
pub(super) const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// Tells keys apart, and nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; ID_BYTES]);

impl KeyId {
    pub(super) fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        KeyId(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key.
#[derive(Clone)]
pub(super) struct Key {
    id: KeyId,
    bytes: [u8; KEY_BYTES],
}

/// How many bytes to derive.
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    /// Reads it; `None` if it is none.
    pub(super) fn parse(secret: &Secret) -> Option<Key> {
        let digits = secret.expose().as_bytes();
        if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        let mut id = [0; ID_BYTES];
        derived(&bytes, &[], "sexton key id", Bytes(ID_BYTES), |okm| okm.fill(&mut id).ok())?;
        Some(Key { id: KeyId(id), bytes })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The key of one object.
    pub(super) fn of_object(&self, salt: &[u8; SALT_BYTES]) -> Option<aead::LessSafeKey> {
        let algorithm = &aead::CHACHA20_POLY1305;
        let key =
            derived(&self.bytes, salt, "sexton object", algorithm, |okm| Some(aead::UnboundKey::from(okm)));
        key.map(aead::LessSafeKey::new)
    }

    fn of_manifests(&self) -> Option<hmac::Key> {
        derived(&self.bytes, &[], "sexton manifest", hmac::HMAC_SHA256, |okm| Some(hmac::Key::from(okm)))
    }
}

/// HKDF-SHA256. It fails for nothing but too many bytes.
fn derived<L: hkdf::KeyType, T>(
    key: &[u8; KEY_BYTES],
    salt: &[u8],
    purpose: &str,
    length: L,
    take: impl FnOnce(hkdf::Okm<'_, L>) -> Option<T>,
) -> Option<T> {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    key.expand(&[purpose.as_bytes()], length).ok().and_then(take)
}

/// The keys of a storage. Its `Debug` tells their ids alone.
#[derive(Clone, Default)]
pub struct Keyring {
    present: Option<Key>,
    former: Vec<Key>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().map(|key| key.id.to_string())).finish()
    }
}

impl Keyring {
    /// The keys that the local file names for a storage.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a secret that is not there, [`ErrorKind::Invalid`] for one that is no key.
    pub(super) fn of(storage: &Storage, contents: &Contents) -> Result<Keyring> {
        let key = |name: &String| {
            Key::parse(contents.secrets.get(name)?).ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!("secret:{name} is no key: it must be 64 hexadecimal digits"),
                )
                .with_remedy("make one by `openssl rand -hex 32`, and keep a copy away from the storage")
            })
        };
        Ok(Keyring {
            present: storage.encrypt_with.as_ref().map(key).transpose()?,
            former: storage.decrypt_with.iter().map(key).collect::<Result<_>>()?,
        })
    }

    #[cfg(test)]
    pub(super) fn holding(present: Option<Key>) -> Keyring {
        Keyring { present, former: Vec::new() }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.present.iter().chain(&self.former)
    }

    /// The key that is encrypted with now.
    pub(super) fn present(&self) -> Option<&Key> {
        self.present.as_ref()
    }

    /// The id of the key that is encrypted with now; `None`: nothing is encrypted.
    pub fn present_id(&self) -> Option<KeyId> {
        self.present.as_ref().map(Key::id)
    }

    /// The key with this id.
    pub(super) fn find(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    /// The HMAC-SHA256 of a text, in hexadecimal digits, by the key of this id; `None` if that key is not here.
    pub fn sign(&self, id: &str, text: &[u8]) -> Option<String> {
        let key = self.all().find(|key| key.id.to_string() == id)?.of_manifests()?;
        Some(hmac::sign(&key, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_hexadecimal_digits() {
        let key = |text: &str| Key::parse(&Secret::new(text));
        let good = key(&"0f".repeat(32)).expect("a key");
        assert_eq!(key(&"0F".repeat(32)).map(|key| key.id), Some(good.id));
        assert_ne!(key(&"f0".repeat(32)).map(|key| key.id), Some(good.id));
        for text in ["", "0f", &"0g".repeat(32), &"+f".repeat(32), &"é".repeat(32)] {
            assert!(key(text).is_none(), "{text:?} is a key");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let key = Key::parse(&Secret::new("0f".repeat(32))).expect("a key");
        let id = key.id;
        assert_eq!(format!("{:?}", Keyring::holding(Some(key))), format!("[\"{id}\"]"));
    }
}
