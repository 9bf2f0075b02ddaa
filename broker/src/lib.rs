//! Carrick's broker: the one crate that knows storage, link and protocol. Its only door is the
//! command line ([`cli::main`]); how a broker starts and stops is in `run`.

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
pub mod run;
pub mod server;
pub mod starting;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
pub mod topic;
pub mod transaction;
