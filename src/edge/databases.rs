//! Other databases by the names in the local file.
//!
//! What is easy to get wrong: a connection string is read over the environment of this process, as libpq reads it, so
//! what it leaves out may come from there.

use super::conninfo::ConnInfo;
use crate::{kind::Databases, outside::Outside, protocol::connect::Connector};

/// How those of the local file are reached; the file and the password file are asked anew for each session.
pub fn of(outside: &Outside) -> Databases {
    let outside = outside.clone();
    Databases::by(move |name| {
        let conninfo = outside.contents().databases.get(name)?.conninfo.clone();
        Some(Connector::new(move || ConnInfo::from_env_and(Some(&conninfo))?.target()))
    })
}
