//! Consumer groups: who reads what, and how far they have read.
//!
//! - [`classic`]: one group of the classic protocol as a pure, synchronous state machine.
//! - [`consumer`]: the same for the consumer protocol (KIP-848).
//! - [`offsets`]: committed offsets.
//! - [`coordinator`]: all groups of this broker: the locks, the clock, parked requests.
//! - `cell`: one group with its lock and its parked requests.
//! - `kind`: the protocol that a group follows.
//! - [`config`]: what the broker's properties say of groups.
//! - [`overrides`]: what a group may have its own values of.
//! - `topic_patterns`: which topics match what groups subscribe with.
//! - `wake`: one task that wakes groups when a timer of theirs is due.
//!
//! Locks: the index of groups, then one group; never two groups, nothing across an await. Changes
//! are handed to the store under the group's lock, so their order on disk is the order in memory.
//!
//! The protocol of a group and its offsets are apart: both kinds of group are state machines over
//! the same offsets, store and timers, and a group may change from one to the other.

mod cell;
pub mod classic;
mod clock;
pub mod config;
pub mod consumer;
pub mod coordinator;
pub mod error;
pub mod ids;
mod kind;
pub mod limits;
mod load;
pub mod offsets;
pub mod overrides;
mod sweep;
mod timers;
mod topic_patterns;
pub mod topics;
mod wake;

pub use config::GroupConfig;
pub use coordinator::Coordinator;
pub use error::GroupError;
