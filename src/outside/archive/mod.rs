//! Archives as they lie in a storage: written by the kind `purge`, batch by batch, read back by `sexton restore --archive`.
//!
//! A batch writes one object for each table that loses rows, before it commits, and a [`Receipt`] after. What is easy to
//! get wrong: an object without a receipt may be of a batch that was taken back, whose rows are still in their table; so
//! readers trust receipts alone. A batch stores its receipts in the database as well, in its own transaction, so that
//! whoever comes next can put those that a crash kept from being written.

mod receipt;
mod shelf;
mod spot;

pub use receipt::{Receipt, VERSION};
pub use shelf::{Archive, clear, put};
pub use spot::{Owner, Spot};
