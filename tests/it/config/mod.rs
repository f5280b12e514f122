//! Migrations, the file, apply and init, through the public face.

mod support;

// Creating and upgrading the schema, by one and by many.
mod migrate;

// What `sexton apply` does to the table, and what it leaves.
mod apply;

// What `sexton import` proposes.
mod import;

// What `sexton init` proposes.
mod init;

// The examples in the documentation.
mod docs;
