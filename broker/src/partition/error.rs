//! Why a partition refuses.

use carrick_protocol::batch::{BatchError, ProducedBatchError};
use carrick_protocol::ids::{LeaderEpoch, Offset};
use carrick_storage::log::{LogError, SequenceError};

/// Why a partition refuses. Facts; `api::error` maps them to Kafka's codes.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// A client's write to a mirror.
    #[error("Cannot append records to read-only mirror topic '{topic}'")]
    ReadOnlyMirror {
        /// The mirror topic.
        topic: String,
    },
    /// A link's write with a lease that a newer one or a promotion has replaced.
    #[error("the lease is fenced")]
    LeaseFenced,
    /// A link's write to a topic that is not a mirror.
    #[error("not a mirror")]
    NotAMirror,
    /// The partition's disk failed earlier.
    #[error("the partition is offline because its log failed")]
    Faulted,
    /// The topic is being deleted or the broker stops.
    #[error("the partition is closed")]
    Closed,
    /// The batch is larger than `max.message.bytes`.
    #[error("the batch has {size_bytes} bytes, max.message.bytes is {max_bytes}")]
    TooLarge {
        /// Size of the batch.
        size_bytes: usize,
        max_bytes: usize,
    },
    /// The batch is larger than a segment of the topic.
    #[error("the batch has {size_bytes} bytes, a segment at most {segment_bytes}")]
    LargerThanSegment {
        /// Size of the batch.
        size_bytes: usize,
        /// The topic's `segment.bytes`.
        segment_bytes: u32,
    },
    /// Nothing was produced.
    #[error("there is no batch")]
    NoBatch,
    /// More than one batch, or a batch and something.
    #[error("{bytes} bytes follow the batch: exactly one is accepted")]
    TrailingBytes { bytes: usize },
    /// A transactional batch outside of a transaction that the coordinator knows.
    #[error("the batch is not part of an ongoing transaction")]
    Transactional,
    /// A mirrored batch's leader epoch is below the one before it.
    #[error("leader epoch {epoch} follows {last}")]
    EpochWentBack {
        /// The batch's.
        epoch: LeaderEpoch,
        /// The one before it.
        last: LeaderEpoch,
    },
    /// The batch's sequence numbers don't follow.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The produced bytes aren't a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The produced batch breaks a rule for producers.
    #[error(transparent)]
    Produced(#[from] ProducedBatchError),
    /// The client's view of the leader epoch is old.
    #[error("leader epoch {known} is older than {current}")]
    FencedEpoch {
        /// The client's.
        known: LeaderEpoch,
        /// The partition's.
        current: LeaderEpoch,
    },
    /// The client's view of the leader epoch is newer than the partition's own.
    #[error("leader epoch {known} is newer than {current}")]
    UnknownEpoch {
        /// The client's.
        known: LeaderEpoch,
        /// The partition's.
        current: LeaderEpoch,
    },
    /// The offset lies outside the log.
    #[error("offset {offset} is out of the range {log_start}..={end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// Log start.
        log_start: Offset,
        /// Upper bound.
        end: Offset,
    },
    /// Records of a topic that is compacted, and only that, go by their keys.
    #[error("records of {partition} cannot be deleted: its cleanup.policy is compact")]
    CompactedOnly {
        /// Topic and number.
        partition: String,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}
