//! The edge: what stands between a person (or their environment) and the library.
//!
//! Nothing here decides about jobs, and nothing below the edge reads the environment or files by itself.

pub mod conninfo;
