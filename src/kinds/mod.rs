//! The built-in kinds. Each uses only what a user's own crate could: `crate::kind`, and its statements.

#[cfg(feature = "backup")]
pub mod backup;
#[cfg(feature = "command")]
pub mod command;
pub mod fan_out;
#[cfg(feature = "http")]
pub mod http;
pub mod purge;
pub mod references;
pub mod reset;
pub mod sql;
pub mod upkeep;
