//! The kernel.

pub mod claim;
pub mod connect;
pub mod fence;
pub mod finish;
pub mod job;
pub mod resource;
pub mod run;
pub mod schedule;
pub mod session;
