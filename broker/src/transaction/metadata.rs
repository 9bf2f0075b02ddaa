//! The state of one transactional id (`TransactionMetadata`, `TransactionState`): the record that
//! is stored in RocksDB.

use std::collections::BTreeSet;
use std::fmt;

use carrick_protocol::ids::{GroupId, ProducerId, TopicPartition};

/// Epoch of a transactional id that was never initialized.
pub const NO_EPOCH: i16 = -1;

/// What a transactional id takes in memory in addition to its name and the contents of its
/// transaction.
pub const ID_BYTES: usize = 1_024;

/// What a partition or group in a transaction takes in addition to its name.
const ENTRY_BYTES: usize = 96;

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No transaction since the producer was initialized.
    Empty,
    /// Partitions or groups were added.
    Ongoing,
    /// To be committed: the markers are being written.
    PrepareCommit,
    /// To be aborted: the markers are being written.
    PrepareAbort,
    /// Committed.
    CompleteCommit,
    /// Aborted.
    CompleteAbort,
}

impl State {
    pub const ALL: [State; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

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

    /// Kafka's number, as in the record.
    pub fn code(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    /// The state of that number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
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

/// How a client speaks of transactions (feature `transaction.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// It adds partitions implicitly; the epoch survives the end of a transaction.
    V1,
    /// KIP-890 part 2: the broker adds partitions, and raises the epoch with every end.
    V2,
}

/// Who speaks: the producer id and epoch of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: i16,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of it counts.
    Commit,
    /// None of it counts.
    Abort,
}

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The current producer id.
    pub producer_id: ProducerId,
    /// The one before the last change.
    pub previous_producer_id: ProducerId,
    /// The producer id to continue with once the transaction has ended, when epochs ran out;
    /// otherwise `NONE`.
    pub next_producer_id: ProducerId,
    /// The current epoch; for a prepared transaction of [`Version::V2`], already the next one's.
    pub epoch: i16,
    /// The previous epoch, by which a repeated request is recognized; [`NO_EPOCH`] if there is
    /// none.
    pub last_epoch: i16,
    /// A transaction is aborted after this.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// Partitions in the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// Groups in the transaction, whose offsets it commits.
    pub groups: BTreeSet<GroupId>,
    /// Wall clock of the begin of the last transaction; −1 if there was none since the producer
    /// was initialized.
    pub start_ms: i64,
    /// Wall clock of the last change.
    pub update_ms: i64,
    /// How the client that made the last change speaks.
    pub version: Version,
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
