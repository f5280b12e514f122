//! HTTP to the outside: whom this replica may call, and the client that does.
//!
//! The rules are plain data and always compiled; the client is the feature `http`'s. What is easy to get wrong: a URL
//! comes from a row, so whoever may write jobs could have the replica call anything that it reaches. Hence the list of
//! hosts is empty by default, private addresses are refused by default, redirects are never followed, and the address
//! that was checked is the one that is connected to.

#[cfg(feature = "http")]
mod address;
pub mod auth;
#[cfg(feature = "http")]
mod base64;
#[cfg(feature = "http")]
mod call;
#[cfg(feature = "http")]
mod client;
mod host;
#[cfg(feature = "http")]
mod resolve;
#[cfg(feature = "http")]
mod sign;
#[cfg(feature = "http")]
mod tls;
#[cfg(feature = "http")]
mod tokenlib;

use std::path::PathBuf;

pub use auth::Auth;
#[cfg(feature = "http")]
pub use call::{Answer, Body, Call, Class, Method, Statuses, Target};
#[cfg(feature = "http")]
pub use client::{Client, parse_url};
pub use host::HostPattern;

/// `[http]` of the local file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRules {
    /// The hosts that URLs of jobs may name. Default: none.
    pub hosts: Vec<HostPattern>,
    /// Whether a name may resolve to an address of this machine or of a private network. Default: no.
    pub private_addresses: bool,
    /// Whether URLs may be `http://`. Default: no.
    pub plain_http: bool,
    /// A file of certificates (PEM) to trust besides the system's.
    pub roots: Option<PathBuf>,
}

/// `[endpoints.NAME]` of the local file: a place to call that jobs name instead of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URL, to which a job may add a path. Its host need not stand in the list of hosts.
    pub url: String,
    /// Whether it may be an address of this machine or of a private network. Default: no.
    pub private_addresses: bool,
    /// Whether its URL may be `http://`. Default: no.
    pub plain_http: bool,
}
