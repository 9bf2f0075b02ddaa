//! Mirrors a source cluster into something that implements this crate's ports.

mod backoff;
pub mod clock;
pub mod config;
pub mod cut;
pub mod description;
pub mod error;
mod fetcher;
pub mod groups;
mod link;
pub mod manager;
pub mod naming;
mod port_error;
pub mod ports;
pub mod properties;
pub mod record;
mod replicator;
pub mod report;
pub mod source;
pub mod state;
mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod throttle;
pub mod verb;
pub mod verify;

pub use error::LinkError;
pub use manager::LinkManager;
