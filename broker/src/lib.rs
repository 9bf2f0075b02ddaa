//! Carrick's broker: the one crate that knows storage, link and protocol.
//!
//! Start order, each step needing the one before: configuration → ports are taken, HTTP says how far
//! the start is → data folder (lock, format version) → metadata (RocksDB) → cluster identity →
//! flusher → topics and their logs → groups → links → listeners. [`RunningBroker::shutdown`] goes the other way: listeners stop accepting,
//! requests in flight are answered, links and groups stop, logs are closed cleanly, and the data
//! folder's lock is the last thing let go.

pub mod api;
pub mod broker;
mod budget;
pub mod cleaner;
pub mod cli;
pub mod clock;
pub mod config;
mod control;
#[cfg(test)]
mod documented;
pub mod fetch_session;
pub mod group;
pub mod heavy;
pub mod housekeeping;
pub mod http;
pub mod mirror;
mod parallel;
pub mod partition;
mod pattern;
mod pool;
pub mod problems;
pub mod producer_ids;
pub mod quota;
pub mod records;
pub mod server;
pub mod starting;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod topic;
pub mod transaction;

pub use broker::{Broker, RunningBroker, StartError};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, if the build named it (`make` does).
pub const COMMIT: Option<&str> = match option_env!("CARRICK_COMMIT") {
    Some(commit) if !commit.is_empty() => Some(commit),
    _ => None,
};
