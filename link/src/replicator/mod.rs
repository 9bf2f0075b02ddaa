//! One mirrored partition.
//!
//! [`task`] waits, [`apply`] decides: `Machine::apply(event) → effects` is synchronous and calls
//! nothing but the partition's own log (a memory copy); [`tail`], [`history`] and [`trouble`] are
//! parts of it. [`intake`] judges fetched bytes, [`truncation`] finds how far histories agree,
//! [`lag`] keeps what is shown.
//!
//! Invariants:
//! - Offsets: mirror log start ≤ mirror end ≤ fetch position. The log asserts the first; a newer lease may move its
//!   start and end between two questions, so nothing is asserted of them here.
//!   The position is above the end only where the source holds nothing between the two.
//! - Every `Fetch` effect has a new generation. An answer to an older one is dropped: predictions
//!   that the fetcher made from refused bytes never reach the log.
//! - Besides answers to fetches, the machine waits for at most one thing (a back-off, a question to
//!   the source); a new one replaces it.
//! - A follower of the source (KIP-392) is trusted about what it has, but not about what it lacks:
//!   after an error or a diverging history, the leader is asked and decides.
//! - Nothing is removed here unless the source has proven that it is gone. If records would be
//!   lost, an operator must also consent (`UNEXPECTED_TRUNCATION`).

pub(crate) mod apply;
mod history;
pub(crate) mod intake;
pub(crate) mod lag;
mod tail;
pub(crate) mod task;
#[cfg(test)]
mod tests;
mod trouble;
pub(crate) mod truncation;

use std::time::Duration;

use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId};

use crate::fetcher::FetchEvent;
use crate::source::fetch::FetchPosition;
use crate::state::MirrorError;

/// Something that happened to the partition.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has a leader, and a fetcher for it. All earlier requests in flight are void.
    Leader {
        /// The leader's epoch, `NONE` if the source doesn't tell.
        epoch: LeaderEpoch,
        /// The topic's id, `ZERO` if the source has none.
        topic_id: TopicId,
        /// The fetcher reads a follower, which may be behind its leader and knows less.
        is_follower: bool,
    },
    /// It has no leader for now.
    NoLeader,
    /// From the partition's fetcher.
    Fetcher(FetchEvent),
    /// The awaited event.
    Waited(Outcome),
}

/// The result of a [`Wait`]. An error is retried.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The time has run out.
    Elapsed,
    /// The supervisor has seen fresh metadata, and the topic is the same as before.
    MetadataSeen,
    /// Where an epoch ends at the source.
    EpochEnd(Result<Option<(LeaderEpoch, Offset)>, String>),
    /// The source's log start and high watermark.
    Range(Result<(Offset, Offset), String>),
    /// What the source holds at and after an offset.
    Probe(Result<Probe, String>),
}

/// The answer to a probe of the log's tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The offset that was probed.
    pub(crate) from: Offset,
    /// The source's high watermark then.
    pub(crate) high_watermark: Offset,
    /// It holds no batch at or after `from`, nor one that holds the offset before the high
    /// watermark.
    pub(crate) is_empty: bool,
}

/// An instruction of the machine to its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Fetch from there on.
    Fetch {
        /// Names this order.
        generation: u64,
        position: FetchPosition,
    },
    /// Don't fetch until the next `Fetch`.
    Halt,
    /// Wait for this instead of the previous wait.
    Wait(Wait),
    /// Fetching has ended where it was: continue at this replica, or at the leader.
    Redirect {
        /// `None` for the leader.
        to: Option<NodeId>,
    },
    /// The mirror has failed.
    Fail { error: MirrorError, detail: String },
    /// The right to write has ended: stop quietly.
    LostLease {
        /// What the target said.
        detail: String,
    },
}

/// Something to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Time, fetching halted.
    Backoff(Duration),
    /// Time, while fetching continues.
    Idle(Duration),
    /// Fresh metadata.
    Metadata,
    /// An answer to OffsetForLeaderEpoch.
    EpochEnd {
        /// The epoch whose end is asked for.
        epoch: LeaderEpoch,
        /// The leader's epoch.
        current: LeaderEpoch,
    },
    /// The source's log start and high watermark.
    Range,
    /// What the source holds at and after this position, asked apart from the session.
    Probe(FetchPosition),
}
