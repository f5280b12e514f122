//! Counting and hashing what passes by.

use sha2::{Digest as _, Sha256};

/// Bytes counted and hashed as they pass.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    bytes: u64,
    hash: Sha256,
}

impl Digest {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// How many there were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their SHA-256 in lower-case hexadecimal digits.
    pub fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_the_standard() {
        let mut digest = Digest::default();
        digest.update(b"a");
        digest.update(b"bc");
        assert_eq!(digest.bytes(), 3);
        assert_eq!(digest.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
