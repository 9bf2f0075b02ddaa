//! Carrick's broker: the only crate that knows storage, link and protocol. Its only entry is the
//! command line; `run` starts and stops a broker.

mod access;
mod api;
mod audit;
mod auth;
mod breaks;
mod broker;
mod budget;
mod cleaner;
mod cli;
mod clock;
mod cluster;
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
mod secrets;
mod server;
mod starting;
#[cfg(test)]
mod testing;
mod tls;
mod topic;
mod transaction;

pub use cli::main;
