//! The kernel.

pub mod connect;
mod refusal;
