//! Mirrors a source cluster into something that implements this crate's ports.

#![expect(
    missing_docs,
    reason = "a name that says everything needs no doc comment"
)]

pub mod acls;
mod authorities;
mod backoff;
pub mod config;
mod creation;
pub mod cut;
pub mod description;
pub mod error;
mod fetcher;
pub mod groups;
mod lookup;
pub mod manager;
pub mod naming;
pub mod ports;
pub mod record;
mod replicator;
pub mod report;
mod shared;
pub mod source;
pub mod state;
mod supervisor;
mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod throttle;
mod topic_configs;
pub mod verb;
pub mod verify;
pub mod web;

pub use error::LinkError;
pub use manager::LinkManager;
