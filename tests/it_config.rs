//! Migrations, the file, apply and init against a private PostgreSQL, through the public face.
#![cfg(feature = "cli")]

#[path = "config_support/mod.rs"]
mod support;

/// What `sexton apply` does to the table, and what it leaves.
#[path = "config_support/apply.rs"]
mod apply;
/// What `sexton init` proposes.
#[path = "config_support/init.rs"]
mod init;
/// Creating and upgrading the schema, by one and by many.
#[path = "config_support/migrate.rs"]
mod migrate;
