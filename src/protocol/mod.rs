//! The kernel.

pub mod connect;
pub mod pooler;
pub mod schedule;
pub mod job;
pub mod control;
pub mod session;
pub mod claim;
pub mod fence;
pub mod run;
pub mod finish;
pub mod resource;
pub mod verbs;
pub mod operate;

mod refusal;
