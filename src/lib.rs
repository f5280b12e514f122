//! Sexton.

#[cfg(feature = "cli")]
pub mod edge;
pub mod error;
pub mod events;
pub mod failpoint;
pub mod kind;
pub mod protocol;
pub mod runner;
pub mod testing;
#[doc(hidden)]
pub mod statements;

pub use error::{Error, ErrorKind, Result};
pub use kind::Registry;
