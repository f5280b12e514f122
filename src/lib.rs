//! Sexton.

#[cfg(feature = "cli")]
pub mod edge;
pub mod error;
pub mod protocol;

pub use error::{Error, ErrorKind, Result};
