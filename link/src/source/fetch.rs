//! Fetch (API key 1), versions 4 to 17, and fetch sessions (KIP-227) as a state machine without I/O.
//!
//! One round: [`FetchSession::next_request`] with everything wanted → send →
//! [`FetchSession::apply`] with the answer, or [`FetchSession::fail`] if none arrived. This module
//! works out what has changed since the last request.
//!
//! Files: `session` is the state machine, `codec` turns our types into the wire's and back, `session_model` tests
//! the session against a small model of a broker's session cache.
//!
//! Version notes: v7 sessions (KIP-227); v9 `current_leader_epoch` (KIP-320); v12 `last_fetched_epoch`, answered by
//! `diverging_epoch` (KIP-595); v13 topic ids instead of names (KIP-516), used when every wanted topic has
//! one, else v12; v16 endpoints of new leaders (KIP-951). Always as a consumer: replica id −1, READ_UNCOMMITTED. v11 the rack, answered
//! by a follower to read instead (KIP-392).

mod codec;
mod session;
#[cfg(test)]
mod session_model;

use std::sync::Arc;

use bytes::Bytes;
use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{LeaderEpoch, NodeId, Offset, TopicId, TopicName, TopicPartition};

use super::SourceBroker;
pub(super) use codec::{from_wire, to_wire};
pub use session::{FetchSession, SessionOutcome};

/// Versions that we speak. 18 is only about followers.
pub(super) const VERSIONS: std::ops::RangeInclusive<i16> = 4..=17;
/// The last version that goes by topic names.
pub(crate) const LAST_BY_NAME: i16 = 12;

/// Where one partition should be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPosition {
    /// The topic's id as metadata gave it; [`TopicId::ZERO`] if the source has none.
    pub topic_id: TopicId,
    /// The next offset wanted.
    pub fetch_offset: Offset,
    /// The leader's epoch as metadata gave it, for fencing (v9+); `NONE` switches the check off.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last batch that is stored, for the divergence check (v12+); `NONE` without one. An
    /// epoch above all that the source knows is answered `OFFSET_OUT_OF_RANGE`, not by a diverging epoch.
    pub last_fetched_epoch: LeaderEpoch,
    /// At most this many bytes of this partition (a first batch is sent whole whatever its size).
    pub max_bytes: u32,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// The source may wait this long for `min_bytes`, milliseconds.
    pub max_wait_ms: u32,
    /// Answer as soon as this many bytes are there.
    pub min_bytes: u32,
    /// At most this many bytes of records in the whole answer (soft, as for a partition).
    pub max_bytes: u32,
}

/// A Fetch request, made by [`FetchSession::next_request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Version to send, at most the connection's.
    pub version: i16,
    pub limits: FetchLimits,
    /// Session id, 0 for none yet.
    pub session_id: i32,
    /// Session epoch: 0 opens a session, −1 closes it (or asks without one), else counts its requests.
    pub session_epoch: i32,
    /// Partitions that are new or changed; all of them in a full request.
    pub partitions: Vec<(TopicPartition, FetchPosition)>,
    /// Partitions the session should forget.
    pub forgotten: Vec<(TopicPartition, TopicId)>,
    /// Where we stand (v11+); empty if a leader is to answer itself.
    pub rack: Arc<str>,
}

/// A decoded Fetch response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse {
    /// Error of the request as a whole (v7+), mostly about the session.
    pub error: ErrorCode,
    /// The session's id, 0 if the source gave none.
    pub session_id: i32,
    /// The source throttled us this long.
    pub throttle_time_ms: i32,
    /// Partitions in the source's order.
    pub partitions: Vec<RawFetchedPartition>,
    /// Addresses of brokers named as new leaders (v16+).
    pub endpoints: Vec<SourceBroker>,
}

/// A partition of a response before the session has put a name to its topic id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFetchedPartition {
    /// The topic's name (v4 to v12).
    pub topic: Option<TopicName>,
    /// The topic's id (v13+).
    pub topic_id: TopicId,
    pub partition: i32,
    /// What came for it.
    pub data: FetchedData,
}

/// What a response says about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    pub partition: TopicPartition,
    /// The offset that the answered request (or the session) asked for.
    pub fetch_offset: Offset,
    /// What came for it.
    pub data: FetchedData,
}

/// The body of one partition's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedData {
    /// `NONE`, `OFFSET_OUT_OF_RANGE`, `NOT_LEADER_OR_FOLLOWER`, `FENCED_LEADER_EPOCH`, `UNKNOWN_TOPIC_ID`, …
    pub error: ErrorCode,
    /// The source's high watermark; −1 with most errors.
    pub high_watermark: Offset,
    /// The source's last stable offset; −1 with most errors.
    pub last_stable_offset: Offset,
    /// The source's log start (v5+), else −1.
    pub log_start_offset: Offset,
    /// Our history diverges: the source's largest epoch at or below the last fetched one, and its end.
    pub diverging_epoch: Option<(LeaderEpoch, Offset)>,
    /// The leader and its epoch, if the source says that it moved (v12+).
    pub current_leader: Option<(NodeId, LeaderEpoch)>,
    /// A follower to read instead (KIP-392); only if the request told a rack.
    pub preferred_read_replica: Option<NodeId>,
    /// Record batches as stored, a slice of the response frame (holding it keeps the whole frame).
    /// The first may begin before the offset asked for, the last may be cut.
    pub records: Bytes,
}
