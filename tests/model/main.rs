//! The protocol, explored: every state that replicas, faults and operators can reach within small bounds.
//!
//! Whoever changes the protocol changes `database` and `world` first, and the SQL after them. `keeps` holds the
//! promises over the protocol as it is; `mutants` takes one sentence away at a time and shows what then breaks,
//! or why nothing does. It is a check of the design, not of the code: that the SQL functions do what the model
//! says is for the tests against a server. `cargo test --test model -- --nocapture` prints the figures and the
//! shortest histories.

mod rules;

mod database;

mod verbs;

mod world;

mod server;

mod adversity;

mod promises;

mod workers;

mod elsewhere;

mod explore;

mod keeps;

mod mutants;
