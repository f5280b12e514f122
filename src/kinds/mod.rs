//! The built-in kinds. Each uses only what a user's own crate could: `crate::kind`, and its statements.

#[cfg(feature = "http")]
pub mod http;
pub mod purge;
pub mod reset;
pub mod sql;
pub mod upkeep;
