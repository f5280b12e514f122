//! The edge: what faces people and machines, in front of the runner and the kernel.
//!
//! It is not where work is decided or recorded: whatever writes the schema `sexton` goes through the kernel, and nothing
//! below the edge reads the environment or files by itself. What is easy to get wrong: an edge may import all but
//! `kinds`, and nothing may import an edge.

pub mod migrate;

#[cfg(feature = "cli")]
pub mod conninfo;
#[cfg(feature = "cli")]
pub mod databases;
#[cfg(feature = "cli")]
pub mod cluster;
#[cfg(feature = "cli")]
pub mod telemetry;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod apply;
#[cfg(all(feature = "http", feature = "mail"))]
pub mod notice;
#[cfg(feature = "cli")]
pub mod init;
#[cfg(feature = "cli")]
pub mod import;
#[cfg(feature = "cli")]
pub mod restore;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod demo;
