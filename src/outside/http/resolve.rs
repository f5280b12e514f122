//! Resolves names for the client, and lets through only what may be called.
//!
//! What is easy to get wrong: the check belongs here and not before the call: a name may resolve to another address a
//! moment later, and what this lets through is what is connected to.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{Reach, reach};
use crate::error::{Error, ErrorKind};

/// Resolves names, and lets through only what may be called.
pub(super) struct Checked {
    pub(super) private_addresses: bool,
}

impl Checked {
    pub(super) fn forbids(&self, address: IpAddr) -> Option<Reach> {
        match reach(address) {
            Reach::Public => None,
            Reach::Private if self.private_addresses => None,
            reach => Some(reach),
        }
    }
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Checked { private_addresses: self.private_addresses };
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            for address in &found {
                if let Some(reach) = rules.forbids(address.ip()) {
                    return Err(Forbidden { host, address: address.ip(), reach }.into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A name stands for an address that may not be called.
#[derive(Debug)]
pub(super) struct Forbidden {
    pub(super) host: String,
    pub(super) address: IpAddr,
    pub(super) reach: Reach,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reach {
            Reach::Private => "an address of this machine or of a private network",
            _ => "an address that is never called",
        };
        write!(f, "{} is {what} ({})", self.host, self.address)
    }
}

impl std::error::Error for Forbidden {}

impl Forbidden {
    pub(super) fn refusal(&self, section: &str) -> Error {
        let error = Error::new(ErrorKind::Refused, self.to_string());
        if self.reach == Reach::Private {
            error.with_remedy(format!(
                "if that is meant, set private_addresses = true in [{section}] of the local file"
            ))
        } else {
            error
        }
    }
}
