//! What a storage node of Sync checks of a call: that it is signed by Hawk, with the key of a token of tokenlib's.
//!
//! Written from the formats and not from our code, so that an error in that shows.

use std::time::Duration;

use hawk::{DigestAlgorithm, Header, Key, RequestBuilder};
use serde_json::Value;

/// What the token of a DELETE claims, if the call was signed by its key, and the token by the master secret.
pub fn claims(authorization: &str, port: u16, path: &str, master: &str) -> Option<Value> {
    let header: Header = authorization.strip_prefix("Hawk ")?.parse().ok()?;
    let (claims, key) = opened(header.id.as_deref()?, master)?;
    let request = RequestBuilder::new("DELETE", "127.0.0.1", port, path).request();
    let key = Key::new(key, DigestAlgorithm::Sha256).unwrap();
    request.validate_header(&header, &key, Duration::from_secs(60)).then_some(claims)
}

/// What a tokenlib token says, and the key that is derived from it, if the master secret signed it.
pub fn opened(token: &str, master: &str) -> Option<(Value, String)> {
    let hkdf = |salt: &[u8], info: &[u8]| sign(&sign(salt, master.as_bytes()), &[info, &[1]].concat());
    let bytes = decode(token);
    let (payload, signature) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let signing = hkdf(b"", b"services.mozilla.com/tokenlib/v1/signing");
    let claims: Value = serde_json::from_slice(payload).ok()?;
    let info = [b"services.mozilla.com/tokenlib/v1/derive/", token.as_bytes()].concat();
    let key = encode(&hkdf(claims["salt"].as_str()?.as_bytes(), &info));
    (sign(&signing, payload) == signature).then_some((claims, key))
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    Key::new(key, DigestAlgorithm::Sha256).unwrap().sign(data).unwrap()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 for URLs, bit by bit.
fn decode(text: &str) -> Vec<u8> {
    let letters =
        text.trim_end_matches('=').bytes().map(|byte| ALPHABET.iter().position(|l| *l == byte).unwrap());
    let bits: Vec<bool> = letters.flat_map(|six| (0..6).rev().map(move |bit| six >> bit & 1 == 1)).collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | u8::from(*bit))).collect()
}

fn encode(bytes: &[u8]) -> String {
    let mut bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push(false);
    }
    let letter =
        |six: &[bool]| char::from(ALPHABET[six.iter().fold(0, |all, bit| all << 1 | usize::from(*bit))]);
    let mut text: String = bits.chunks(6).map(letter).collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
