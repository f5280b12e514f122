//! How a call proves who sends it, as a row says it: secrets by name alone.
//!
//! What is easy to get wrong: one way is one key (`auth = { bearer = "secret:crm" }`), so that an error in it points at
//! the very value. What they do is in `sign`.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::super::secrets::reference;

/// The name of a secret, written `secret:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(pub String);

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        reference(&text).map(|name| SecretName(name.to_owned())).ok_or_else(|| {
            // Not the text itself: it may be the very secret.
            de::Error::custom("takes the name of a secret, \"secret:NAME\"; its text stands with the replica")
        })
    }
}

/// How a call is authenticated.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Basic`, RFC 7617.
    Basic(Basic),
    /// `Authorization: Bearer`, RFC 6750.
    Bearer(SecretName),
    /// Standard Webhooks: HMAC-SHA256 over id, timestamp and body. Two secrets while one is replaced by the other.
    Hmac(OneOrTwo),
    /// Hawk, with a hash of the body.
    Hawk(Hawk),
    /// Hawk, with a token and a key that are derived from a master secret, as Sync's storage nodes expect.
    Tokenlib(Tokenlib),
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user, in clear.
    pub user: String,
    /// The password.
    pub password: SecretName,
}

/// One secret, or two of which the other side may know either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrTwo(pub Vec<SecretName>);

impl<'de> Deserialize<'de> for OneOrTwo {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = match Value::deserialize(from)? {
            Value::Array(items) => items,
            one => vec![one],
        };
        if !(1..=2).contains(&names.len()) {
            return Err(de::Error::custom("takes one secret, or two while the second replaces the first"));
        }
        let names = names.into_iter().map(|name| SecretName::deserialize(name).map_err(de::Error::custom));
        names.collect::<Result<_, _>>().map(OneOrTwo)
    }
}

/// Hawk credentials with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hawk {
    /// The id, in clear.
    pub id: String,
    /// The key.
    pub key: SecretName,
}

/// What a token of tokenlib is made of.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenlib {
    /// The master secret that both sides have.
    pub secret: SecretName,
    /// What the token says: `{ uid = 42, node = "https://…", … }`. `expires` (in 5 minutes) and `salt` are added.
    #[serde(default)]
    pub token: Map<String, Value>,
}

impl Auth {
    /// The secrets that it names.
    pub fn secrets(&self) -> Vec<&SecretName> {
        match self {
            Auth::None => Vec::new(),
            Auth::Basic(basic) => vec![&basic.password],
            Auth::Bearer(token) => vec![token],
            Auth::Hmac(secrets) => secrets.0.iter().collect(),
            Auth::Hawk(hawk) => vec![&hawk.key],
            Auth::Tokenlib(tokenlib) => vec![&tokenlib.secret],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_named_and_never_written_out() {
        let read = |value: Value| serde_json::from_value::<Auth>(value);
        let hmac = read(json!({"hmac": ["secret:new", "secret:old"]})).expect("it is good");
        assert_eq!(hmac.secrets().len(), 2);
        assert!(read(json!({"hmac": "secret:new"})).is_ok() && read(json!("none")).is_ok());
        let wrong = [
            json!({"bearer": "hunter2"}),
            json!({"hmac": []}),
            json!({"hmac": ["hunter2", "secret:a"]}),
            json!({"basic": {"user": "a", "password": "hunter2"}}),
        ];
        for wrong in wrong {
            let error = read(wrong.clone()).expect_err("no secret's name").to_string();
            assert!(error.contains("secret") && !error.contains("hunter2"), "{wrong}: {error}");
        }
    }
}
