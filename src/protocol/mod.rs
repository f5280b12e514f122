//! The kernel.

pub mod connect;
