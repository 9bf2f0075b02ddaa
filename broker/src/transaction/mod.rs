//! Transactions: who writes under a transactional id, to which partitions, and how that ends
//! (KIP-98, KIP-360, KIP-890).
//!
//! - [`machine`]: one transactional id as a pure, synchronous state machine over [`metadata`].
//! - [`coordinator`]: all transactional ids of this broker: locks, requests, what is durable.
//! - `completion`: drives a prepared transaction to its end: markers, flush, completion.
//! - `load`: what is left of an earlier life of the broker.
//! - `sweep`: transactions whose time is over, ids that nobody uses any more.
//!
//! Locks: the index of ids → one transaction → one partition, or the transaction's groups in order.
//! What is written to a partition in a transaction is written under the transaction's lock, after
//! its verification: so nothing is written once its end is decided, and no transaction is left
//! open that the coordinator doesn't know. Changes are handed to the store under the lock, so
//! their order on disk is the order in memory.

mod cell;
mod completion;
pub mod config;
pub mod coordinator;
pub mod error;
pub mod limits;
mod load;
pub mod machine;
pub mod metadata;
mod sweep;

pub use config::TransactionConfig;
pub use coordinator::Coordinator;
pub use error::{OffsetsError, TxnError};
pub use metadata::{Outcome, Producer, State, Version};
