//! What the tests stand on. Nothing here asserts anything about Sexton beyond that it starts.

mod by_hand;
mod db;
mod process;
mod proxy;
mod replica;
mod server;
mod steps;

pub use by_hand::{Hand, code, detail};
pub use db::{Db, empty_database};
pub use process::Process;
pub use proxy::Proxy;
pub use replica::Replica;
pub use server::{own_server, own_server_with};
pub use steps::Steps;
