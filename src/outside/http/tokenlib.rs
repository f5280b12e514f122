//! Tokens and keys as Mozilla's tokenlib makes them: what Sync's storage nodes expect of a Hawk client.
//!
//! A token is base64url(JSON ‖ HMAC-SHA256(JSON)), whose signing key is HKDF-SHA256 of the master secret; the Hawk key of a
//! token is HKDF-SHA256 again, with the token's `salt` and the token itself, in base64url. What is easy to get wrong: the
//! Hawk key is that text, not the bytes behind it.
//!
//! Source: tokenlib 2.0, `make_token` and `get_derived_secret`; RFC 5869.

use hawk::{DigestAlgorithm, Key};
use serde_json::{Map, Value};

use super::base64;
use crate::error::{Error, ErrorKind, Result};

const INFO_SIGNING: &[u8] = b"services.mozilla.com/tokenlib/v1/signing";
const INFO_DERIVE: &[u8] = b"services.mozilla.com/tokenlib/v1/derive/";
/// How long a token is good for.
const EXPIRES_AFTER: i64 = 300;

/// A token that says `claims`, and the Hawk key that belongs to it.
pub(super) fn token(
    master: &str,
    claims: &Map<String, Value>,
    now: jiff::Timestamp,
) -> Result<(String, String)> {
    let mut claims = claims.clone();
    if !claims.contains_key("expires") {
        claims.insert("expires".to_owned(), (now.as_second() + EXPIRES_AFTER).into());
    }
    let salt = match claims.get("salt").and_then(Value::as_str) {
        Some(salt) => salt.to_owned(),
        None => format!("{:06x}", fastrand::u32(..1 << 24)),
    };
    claims.insert("salt".to_owned(), salt.as_str().into());
    let payload = Value::Object(claims).to_string();
    let signature = sign(&signing_key(master)?, payload.as_bytes())?;
    let token = base64::for_urls(&[payload.as_bytes(), &signature].concat());
    let key = key_of(master, &token, &salt)?;
    Ok((token, key))
}

fn signing_key(master: &str) -> Result<Vec<u8>> {
    hkdf(master.as_bytes(), b"", INFO_SIGNING)
}

fn key_of(master: &str, token: &str, salt: &str) -> Result<String> {
    let info = [INFO_DERIVE, token.as_bytes()].concat();
    Ok(base64::for_urls(&hkdf(master.as_bytes(), salt.as_bytes(), &info)?))
}

/// HKDF-SHA256 for 32 bytes, which is one block.
fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<Vec<u8>> {
    let extracted = sign(salt, secret)?;
    sign(&extracted, &[info, &[1]].concat())
}

/// HMAC-SHA256.
fn sign(key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let signed = Key::new(key, DigestAlgorithm::Sha256).and_then(|key| key.sign(data));
    signed.map_err(|cause| Error::new(ErrorKind::Outside, "HMAC-SHA256 is not to be had").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hawk::{Credentials, RequestBuilder};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hkdf_is_that_of_rfc_5869() {
        // Its test case 1, of which the first block is 32 bytes.
        let salt: Vec<u8> = (0..=12).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm = hkdf(&[0x0b; 22], &salt, &info).expect("it is to be had");
        assert_eq!(hex(&okm), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
        // Its test case 3: neither salt nor info.
        let okm = hkdf(&[0x0b; 22], b"", b"").expect("it is to be had");
        assert_eq!(hex(&okm), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    /// What the tests of Mozilla's storage server verify: a token, and the MAC of a request under its key.
    const MASTER: &str = "Ted Koppel is a robot";
    const PAYLOAD: &str = r#"{"uid": 1, "node": "http://localhost:5000", "expires": 1884968439.0, "fxa_uid": "319b98f9961ff1dbdd07313cd6ba925a", "fxa_kid": "de697ad66d845b2873c9d7e13b8971af", "hashed_fxa_uid": "0e8df5d41398a389913bd8402435649518af46493da1d4a437a46dc1784c501a", "hashed_device_id": "2bcb92f4d4698c3d7b083a3c698a16ccd78bc2a8d20a96e4bb128ddceaf4e0b6", "salt": "2b307b"}"#;
    const TOKEN: &str = "eyJ1aWQiOiAxLCAibm9kZSI6ICJodHRwOi8vbG9jYWxob3N0OjUwMDAiLCAiZXhwaXJlcyI6IDE4ODQ5Njg0MzkuMCwgImZ4YV91aWQiOiAiMzE5Yjk4Zjk5NjFmZjFkYmRkMDczMTNjZDZiYTkyNWEiLCAiZnhhX2tpZCI6ICJkZTY5N2FkNjZkODQ1YjI4NzNjOWQ3ZTEzYjg5NzFhZiIsICJoYXNoZWRfZnhhX3VpZCI6ICIwZThkZjVkNDEzOThhMzg5OTEzYmQ4NDAyNDM1NjQ5NTE4YWY0NjQ5M2RhMWQ0YTQzN2E0NmRjMTc4NGM1MDFhIiwgImhhc2hlZF9kZXZpY2VfaWQiOiAiMmJjYjkyZjRkNDY5OGMzZDdiMDgzYTNjNjk4YTE2Y2NkNzhiYzJhOGQyMGE5NmU0YmIxMjhkZGNlYWY0ZTBiNiIsICJzYWx0IjogIjJiMzA3YiJ9lXaC5pIOenf7qL1AWlgKFvYH63nakyniTXP-7acS5cw=";

    #[test]
    fn a_token_is_signed_as_storage_nodes_verify_it() {
        let signature = sign(&signing_key(MASTER).expect("a key"), PAYLOAD.as_bytes()).expect("a signature");
        assert_eq!(base64::for_urls(&[PAYLOAD.as_bytes(), &signature].concat()), TOKEN);
    }

    #[test]
    fn a_request_is_signed_with_the_tokens_key_as_storage_nodes_verify_it() {
        let key = key_of(MASTER, TOKEN, "2b307b").expect("a key");
        let key = Key::new(key, DigestAlgorithm::Sha256).expect("a key");
        let credentials = Credentials { id: TOKEN.to_owned(), key };
        let at = UNIX_EPOCH + Duration::from_secs(1_569_608_439);
        let request = RequestBuilder::new("GET", "localhost", 5000, "/storage/1.5/1/storage/col2").request();
        let header = request.make_header_full(&credentials, at, "h1Ch4vo=").expect("a header");
        let written = header.to_string();
        assert!(written.contains("mac=\"UwDpC+DSrHCSTQSfMOWlueB6kM6gHb0Hsv8eU9ZcTVs=\""), "{written}");
    }

    #[test]
    fn a_token_expires_and_has_a_salt_of_its_own() {
        let claims = serde_json::json!({"uid": 42}).as_object().cloned().expect("an object");
        let now = jiff::Timestamp::from_second(1000).expect("an instant");
        let (first, key) = token(MASTER, &claims, now).expect("a token");
        let (second, _) = token(MASTER, &claims, now).expect("a token");
        assert_ne!(first, second);
        assert_eq!(key.len(), 44, "32 bytes in base64");
        let expected = base64::for_urls(br#"{"expires":1300,"#);
        assert!(first.starts_with(&expected[..20]), "{first}");
    }
}
