//! Carrick's broker: the one crate that knows storage, link and protocol. Its only door is the
//! command line; how a broker starts and stops is in `run`.

mod access;
mod api;
mod broker;
mod budget;
mod cleaner;
mod cli;
mod clock;
mod config;
mod control;
mod coordination;
#[cfg(test)]
mod documented;
mod fetch_session;
mod group;
mod heavy;
mod housekeeping;
mod http;
mod journal;
mod metadata;
mod mirror;
mod parallel;
mod partition;
mod pattern;
mod pool;
mod principal;
mod problems;
mod producer_ids;
mod quota;
mod records;
mod run;
mod server;
mod starting;
#[cfg(test)]
mod testing;
mod topic;
mod transaction;

pub use cli::main;
