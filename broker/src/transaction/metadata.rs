//! The state of one transactional id (`TransactionMetadata`, `TransactionState`): the record that
//! is stored, and what follows from it.

use std::collections::BTreeSet;
use std::fmt;

use carrick_protocol::ids::{GroupId, ProducerId, TopicPartition};

pub use crate::records::transaction::{Metadata, NO_EPOCH, Producer, State, Version};

/// What a transactional id takes in memory in addition to its name and the contents of its
/// transaction.
pub const ID_BYTES: usize = 1_024;

/// What a partition or group in a transaction takes in addition to its name.
const ENTRY_BYTES: usize = 96;

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether the outcome is decided and markers may be missing.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether the id may expire.
    pub fn may_expire(self) -> bool {
        matches!(
            self,
            Self::Empty | Self::CompleteCommit | Self::CompleteAbort
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of it counts.
    Commit,
    /// None of it counts.
    Abort,
}

impl Metadata {
    /// A transactional id of which nothing is known.
    pub fn new(producer_id: ProducerId, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: ProducerId::NONE,
            next_producer_id: ProducerId::NONE,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            start_ms: -1,
            update_ms: now_ms,
            version: Version::V1,
        }
    }

    /// About how many bytes it takes in memory.
    pub fn held_bytes(&self) -> usize {
        ID_BYTES + entries_bytes(&self.partitions, &self.groups)
    }

    /// The current producer.
    pub fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// Whether no epoch is left that a client may use: the largest one is kept for fencing.
    pub fn is_exhausted(&self) -> bool {
        is_exhausted(self.epoch)
    }

    /// How it ends, once that is decided.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::PrepareCommit | State::CompleteCommit => Some(Outcome::Commit),
            State::PrepareAbort | State::CompleteAbort => Some(Outcome::Abort),
            State::Empty | State::Ongoing => None,
        }
    }
}

/// About how many bytes partitions and groups take in a transaction.
pub fn entries_bytes(partitions: &BTreeSet<TopicPartition>, groups: &BTreeSet<GroupId>) -> usize {
    let partitions: usize = partitions
        .iter()
        .map(|at| ENTRY_BYTES + at.topic.as_str().len())
        .sum();
    let groups: usize = groups
        .iter()
        .map(|id| ENTRY_BYTES + id.as_str().len())
        .sum();
    partitions + groups
}

/// Whether an epoch is the last that a client may use, or beyond.
pub fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}
