//! Consumer groups: which member reads what, and how far they have read.
//!
//! - [`coordinator`]: all groups of this broker: finds or creates the group of a request, and
//!   answers.
//! - `sweep`, `load`: what expires, and what an earlier run of the broker left.
//! - `content`: one group under its lock, with its parked requests.
//! - `kind`: the protocol that a group follows.
//! - [`classic`]: one group of the classic protocol as a pure, synchronous state machine.
//! - [`consumer`]: the same for the consumer protocol (KIP-848).
//! - [`offsets`]: committed offsets. [`commit`]: requests to commit some.
//! - `services`: what all groups work with: clock, journal, memory, timers, topics, settings.
//! - [`config`]: what the broker's properties say about groups.
//! - [`overrides`]: values that a group may set for itself.
//! - `topic_patterns`: which topics match the expressions that groups subscribe with.
//! - `wake`: when each group must be woken.
//!
//! Imports go one way: `coordinator` → `sweep`, `load` → `content` → `kind`, `services` → the rest.
//! The index, the locks and their order, and the budget are those of [`crate::coordination`]. Only
//! the end of a transaction locks more than one group, in the order of their ids. No lock is held
//! across an await. Changes are submitted to the journal under the group's lock, so their order on
//! disk is the order in memory.
//!
//! The protocol of a group and its offsets are separate: both kinds of group are state machines
//! over the same offsets, journal and timers, and a group may change from one to the other.

pub mod classic;
mod clock;
pub mod commit;
pub mod config;
pub mod consumer;
mod content;
pub mod coordinator;
pub mod error;
mod kind;
pub mod limits;
mod load;
pub mod offsets;
pub mod overrides;
mod services;
mod sweep;
mod timers;
mod topic_patterns;
pub mod topics;
mod wake;

pub use commit::{CommitRequest, NewOffset, SyncedCommit, TakenCommit};
pub use config::GroupConfig;
pub use content::Present;
pub use coordinator::{Coordinator, PendingCommit};
pub use error::GroupError;
pub use topic_patterns::MaySee;
