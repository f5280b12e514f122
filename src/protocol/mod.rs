//! The kernel.

pub mod connect;
pub mod schedule;
pub mod job;
pub mod session;
pub mod claim;
pub mod fence;
pub mod run;
pub mod finish;
pub mod resource;
#[cfg(feature = "cli")]
pub(crate) mod author;

mod refusal;
