//! What a source reports about its groups.

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::{GroupId, LeaderEpoch, NodeId, Offset, TopicPartition};

use super::SourceError;

/// One group as its coordinator lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceGroup {
    pub id: GroupId,
    /// `consumer`, `connect`, `share`, …; empty for a group of offsets alone.
    pub protocol_type: String,
    /// `classic`, `consumer` (KIP-848), `share`, …; empty below ListGroups v5.
    pub group_type: String,
    /// `Stable`, `Empty`, …; empty below ListGroups v4.
    pub state: String,
}

impl SourceGroup {
    /// Whether the source says that it has members.
    pub fn has_members(&self) -> bool {
        !matches!(self.state.as_str(), "" | "Empty" | "Dead")
    }
}

/// The groups of all brokers that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupListing {
    /// The brokers that have been asked.
    pub cluster_id: Option<String>,
    /// Each group once, ascending by id.
    pub groups: Vec<SourceGroup>,
    /// Brokers that didn't tell: groups that they coordinate may be missing.
    pub silent: Vec<(NodeId, SourceError)>,
}

/// What one group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCommits {
    pub group: GroupId,
    /// `NONE`, or why there is nothing more: `GROUP_AUTHORIZATION_FAILED`, `NOT_COORDINATOR`,
    /// `COORDINATOR_NOT_AVAILABLE`, `COORDINATOR_LOAD_IN_PROGRESS`, …
    pub error: ErrorCode,
    /// What it has committed, for all topics that the link's principal may describe. Offsets that a
    /// transaction is about to commit are not among them.
    pub commits: Vec<SourceCommit>,
    /// Partitions whose offset the source does not tell, and why.
    pub untold: Vec<(TopicPartition, ErrorCode)>,
}

impl GroupCommits {
    /// A group that nothing is known of.
    pub(super) fn unanswered(group: &GroupId, error: ErrorCode) -> Self {
        Self {
            group: group.clone(),
            error,
            commits: Vec::new(),
            untold: Vec::new(),
        }
    }
}

/// An offset that a group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCommit {
    pub partition: TopicPartition,
    /// Where the group continues to read. Kafka accepts negative offsets from its clients, too.
    pub offset: Offset,
    /// The epoch of the last record read; `NONE` below OffsetFetch v5 or when not committed.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
}
