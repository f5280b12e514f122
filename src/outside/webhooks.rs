//! Webhooks that notices go to, by name.
//!
//! What is easy to get wrong: a URL may itself be a secret (many hold a token), so neither it nor its path comes into a
//! row, a log line or an error; the name does.

use std::fmt;

/// `[webhooks.NAME]` of the local file.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where to post to.
    pub url: String,
    /// The names of the secrets to sign with: one, or two while they are rotated.
    pub secrets: Vec<String>,
    /// Whether it may be an address of this machine or of a private network. Default: no.
    pub private_addresses: bool,
    /// Whether its URL may be `http://`. Default: no.
    pub plain_http: bool,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}
