//! Commits of offsets: the request, and which part of it a group has accepted.

use carrick_protocol::ids::{LeaderEpoch, Offset, TopicId, TopicName};

use super::classic::CommitFence;
use super::error::GroupError;
use crate::coordination::Awaited;
use crate::records::member_ids::MemberId;

/// An OffsetCommit request, for partitions that exist.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Who commits.
    pub fence: CommitFence,
    /// Until when the offsets are kept, as milliseconds from now (versions 2 to 4).
    pub retention_ms: Option<i64>,
    /// Version 9 on: a generation of a group that isn't there is `GroupNotFound` and not
    /// `IllegalGeneration`. In transactions from version 6 on, and the same for `StaleMemberEpoch`.
    pub knows_group_not_found: bool,
    /// Each is taken or refused on its own.
    pub offsets: Vec<NewOffset>,
}

/// An offset to be committed.
#[derive(Clone, Debug)]
pub struct NewOffset {
    /// A topic that exists.
    pub topic: TopicName,
    /// Distinguishes it from another one that is created later under the same name.
    pub topic_id: TopicId,
    /// A partition that exists.
    pub partition: i32,
    /// Where the group continues.
    pub offset: Offset,
    /// The epoch of the last record read, or `NONE`.
    pub leader_epoch: LeaderEpoch,
    /// The client's own text.
    pub metadata: String,
}

/// A commit that a group has taken.
pub struct TakenCommit {
    /// One result for each offset, in order.
    pub results: Vec<Result<(), GroupError>>,
    /// The results hold only once this is `Ok`. `None` if no offset was taken: nothing is stored.
    pub stored: Option<Awaited<Result<(), GroupError>>>,
}

impl TakenCommit {
    /// The results, once they hold.
    ///
    /// # Errors
    /// `NotStored`, `ShuttingDown`: nothing was committed.
    pub async fn durable(self) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if let Some(stored) = self.stored {
            stored.result().await?;
        }
        Ok(self.results)
    }
}

/// Offsets that a group has taken from another cluster.
pub struct SyncedCommit {
    /// How many offsets differ from what was there.
    pub written: usize,
    /// They hold only once this is `Ok`; `None` if nothing differs, and nothing is stored.
    pub stored: Option<Awaited<Result<(), GroupError>>>,
}

/// The commit of somebody who is no member.
pub(super) fn unfenced(offsets: Vec<NewOffset>) -> CommitRequest {
    CommitRequest {
        fence: CommitFence {
            member_id: MemberId::default(),
            instance_id: None,
            generation: -1,
            knows_epochs: true,
        },
        retention_ms: None,
        knows_group_not_found: true,
        offsets,
    }
}
