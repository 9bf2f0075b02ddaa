//! Why a port refused: facts, in the link's words.

use carrick_protocol::ids::{LeaderEpoch, Offset, TopicName};

use crate::record::LinkName;

/// Why a mirror partition could not be opened or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The right to write has passed on (a newer lease, or the topic has been promoted).
    #[error("the lease on the mirror partition is no longer valid")]
    Fenced,
    /// There is no such topic or partition here.
    #[error("no such partition")]
    NoSuchPartition,
    /// The topic exists and is not a mirror.
    #[error("the topic is not a mirror")]
    NotAMirror,
    /// The topic is the mirror of another link.
    #[error("the topic is a mirror of link '{0}'")]
    WrongLink(LinkName),
    /// Offsets went back.
    #[error("offset {offset} is below {bound}")]
    NonMonotonic {
        offset: Offset,
        /// What it must not be below.
        bound: Offset,
    },
    /// Batch leader epochs went back.
    #[error("leader epoch {epoch} is below {last}")]
    NonMonotonicEpoch {
        epoch: LeaderEpoch,
        /// What was stored before.
        last: LeaderEpoch,
    },
    /// The log could not be written or read: the storage's own words.
    #[error("storage: {0}")]
    Storage(String),
}

/// Why the catalog refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A topic of that name exists.
    #[error("topic '{0}' already exists")]
    TopicExists(TopicName),
    /// There is no such topic.
    #[error("topic '{0}' does not exist")]
    NoSuchTopic(TopicName),
    /// The topic is not a mirror.
    #[error("topic '{0}' is not a mirror topic")]
    NotAMirror(TopicName),
    /// A name, count or config was refused: the reason.
    #[error("{0}")]
    Invalid(String),
    /// It could not be stored: the storage's own words.
    #[error("storage: {0}")]
    Storage(String),
}

/// The store could not be read or written: its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("link store: {0}")]
pub struct StoreError(pub String);

/// Why nothing of a group's offsets was committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// It has members here, or a transaction is about to commit offsets of it.
    #[error("the group is in use here: {0}")]
    InUse(String),
    /// It, or what it commits, is beyond a limit of this cluster: which.
    #[error("{0}")]
    Limit(String),
    /// It could not be stored now.
    #[error("storage: {0}")]
    Storage(String),
}

/// Why ACLs were not synced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclRefusal {
    /// They are beyond a limit of this cluster, or not ones that it can have: which.
    #[error("{0}")]
    Refused(String),
    /// They could not be stored now.
    #[error("storage: {0}")]
    Storage(String),
}
