//! Why the transaction coordinator refuses. Facts only; `api::error` maps each to its Kafka code.

use thiserror::Error;

use crate::coordination::Refusal;
use crate::group::GroupError;
use crate::journal::NotStored;

/// A refusal of offsets that a transaction should commit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OffsetsError {
    /// By the transaction coordinator.
    #[error(transparent)]
    Transaction(#[from] TxnError),
    /// By the group.
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// A refusal by the coordinator.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TxnError {
    /// The transactional id is empty, or longer than the limit.
    #[error("the transactional id is empty or too long")]
    InvalidId,
    /// No such transactional id: the error for administrators.
    #[error("the transactional id is not known")]
    NotFound,
    /// No such transactional id, or a different producer id belongs to it: the error for producers.
    #[error("the producer id does not belong to the transactional id")]
    NotMapped,
    /// A newer instance of the producer has taken over.
    #[error("a newer instance of the producer has taken over")]
    Fenced,
    /// Another change of the transaction is in progress: try again.
    #[error("another change of the transaction is in progress")]
    Concurrent,
    /// The transaction's state does not allow that.
    #[error("the state of the transaction does not allow that")]
    InvalidState,
    /// The partition or group is not in the transaction.
    #[error("the partition or group was not added to the transaction")]
    NotInTransaction,
    /// The timeout is not positive, or larger than `transaction.max.timeout.ms`.
    #[error("the transaction timeout is outside the allowed range")]
    InvalidTimeout,
    /// The limit of transactional ids, or of groups in the transaction, is reached.
    #[error("there are too many transactional ids, or groups in the transaction")]
    TooMany,
    /// No producer id can be allocated.
    #[error("no producer ids are left")]
    NoProducerId,
    /// The broker could not store the change, or has too many changes waiting.
    #[error("the change could not be stored")]
    NotStored,
    /// The coordinator is shutting down.
    #[error("the coordinator is shutting down")]
    ShuttingDown,
}

impl From<Refusal> for TxnError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::NotMapped,
            Refusal::Full => Self::TooMany,
            Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl From<NotStored> for TxnError {
    fn from(NotStored: NotStored) -> Self {
        Self::NotStored
    }
}

impl From<Refusal> for OffsetsError {
    fn from(refusal: Refusal) -> Self {
        Self::Transaction(refusal.into())
    }
}
