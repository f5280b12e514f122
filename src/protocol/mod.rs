//! The kernel.

pub mod claim;
pub mod connect;
pub mod fence;
pub mod resource;
pub mod run;
pub mod session;
