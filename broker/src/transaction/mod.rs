//! Transactions: which producer writes under a transactional id, to which partitions, and how that
//! ends (KIP-98, KIP-360, KIP-890).
//!
//! - [`machine`]: one transactional id as a pure, synchronous state machine over [`metadata`].
//! - [`coordinator`]: all transactional ids of this broker: locks, requests, what is durable.
//! - `content`: one transactional id under its lock, and how its changes get to the disk.
//! - `services`: what all ids work with: settings, journal, memory, partitions, groups.
//! - `completion`: completes a prepared transaction: markers, flush, completion.
//! - `load`: what an earlier run of the broker left.
//! - `sweep`: timed-out transactions, and ids that are no longer used.
//!
//! The index, the locks and their order, and the budget are those of [`crate::coordination`]. Under
//! a transaction's lock: one partition, or the transaction's groups in order. A write to a
//! partition in a transaction happens under the transaction's lock, after its verification: so
//! nothing is written once its outcome is decided, and no transaction is left open that the
//! coordinator doesn't know. Changes are submitted to the journal under the lock, so their order on
//! disk is the order in memory.

mod completion;
pub mod config;
mod content;
pub mod coordinator;
pub mod error;
pub mod limits;
mod load;
pub mod machine;
pub mod metadata;
mod services;
mod sweep;

pub use config::TransactionConfig;
pub use coordinator::Coordinator;
pub use error::{OffsetsError, TxnError};
pub use metadata::{Outcome, Producer, State, Version};
