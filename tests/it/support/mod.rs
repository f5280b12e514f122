//! What the tests stand on. Nothing here asserts anything about Sexton beyond that it starts.

mod by_hand;
mod db;
mod replica;
mod server;
mod steps;

pub use by_hand::{Hand, code, detail};
pub use db::Db;
pub use replica::Replica;
pub use server::own_server;
pub use steps::Steps;
