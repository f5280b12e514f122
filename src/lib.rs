//! Sexton.

#[cfg(feature = "migrate")]
pub mod edge;
pub mod error;
pub mod failpoint;
pub mod kind;
pub mod protocol;
#[doc(hidden)]
pub mod statements;

#[cfg(feature = "migrate")]
pub use edge::migrate::run as migrate;
pub use error::{Error, ErrorKind, Result};
