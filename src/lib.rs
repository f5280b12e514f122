//! Sexton.

pub mod error;
pub mod protocol;

pub use error::{Error, ErrorKind, Result};
