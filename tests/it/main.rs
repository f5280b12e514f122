//! Tests through the public face, against a real server. One binary, so that they share one private cluster.

// What a purge deletes, refuses and reports.
mod purge;
// Purges of random tables against what plain SQL says must be left.
mod purge_oracle;
// A database and a job for each test of the purge.
mod purge_support;
