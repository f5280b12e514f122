//! The kernel.

pub mod connect;
pub mod schedule;
