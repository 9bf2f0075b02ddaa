//! What a group's members mean for its offsets: who may commit and fetch
//! (`ConsumerGroup.validateOffsetCommit`, `validateOffsetFetch`).

use carrick_protocol::ids::TopicId;

use super::{ConsumerGroup, Member};
use crate::group::classic::CommitFence;
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

impl ConsumerGroup {
    /// Decides whether a commit is taken at all; [`Self::fence_partition`] decides by partition.
    ///
    /// An epoch below 0 is a consumer that assigns itself or an administrator: it may commit only
    /// while the group is empty.
    ///
    /// # Errors
    /// `UnknownMember`, `StaleMemberEpoch`, `IllegalGeneration`, `UnsupportedVersion`.
    pub fn fence_commit(&self, fence: &CommitFence) -> Result<(), GroupError> {
        if fence.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self
            .members
            .get(&fence.member_id)
            .ok_or(GroupError::UnknownMember)?;
        if member.classic.is_none() && !fence.knows_epochs {
            return Err(GroupError::UnsupportedVersion);
        }
        match fence.generation > member.member_epoch {
            true => Err(stale(member)),
            false => Ok(()),
        }
    }

    /// The same for a commit in a transaction, which need not name a member.
    ///
    /// # Errors
    /// `UnknownMember`, `StaleMemberEpoch`, `IllegalGeneration`.
    pub fn fence_transactional_commit(&self, fence: &CommitFence) -> Result<(), GroupError> {
        let anonymous = fence.member_id.is_empty() && fence.instance_id.is_none();
        match anonymous && fence.generation < 0 {
            true => Ok(()),
            false => self.fence_commit(fence),
        }
    }

    /// Decides whether an accepted commit may be for this partition: with an earlier epoch only if
    /// the member has had the partition since then.
    ///
    /// # Errors
    /// `StaleMemberEpoch`, `IllegalGeneration`.
    pub fn fence_partition(
        &self,
        fence: &CommitFence,
        topic: TopicId,
        partition: i32,
    ) -> Result<(), GroupError> {
        match self.members.get(&fence.member_id) {
            Some(member) if fence.generation != member.member_epoch => {
                let given = member.epoch_of(topic, partition);
                match given.is_some_and(|epoch| fence.generation >= epoch) {
                    true => Ok(()),
                    false => Err(stale(member)),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether a member may see the group's offsets; who says no member id may.
    ///
    /// # Errors
    /// `UnknownMember`, `StaleMemberEpoch`, `IllegalGeneration`.
    pub fn fence_fetch(&self, member: Option<&MemberId>, epoch: i32) -> Result<(), GroupError> {
        let Some(id) = member else {
            return match epoch < 0 {
                true => Ok(()),
                false => Err(GroupError::UnknownMember),
            };
        };
        let member = self.members.get(id).ok_or(GroupError::UnknownMember)?;
        match epoch == member.member_epoch {
            true => Ok(()),
            false => Err(stale(member)),
        }
    }

    /// Whether the group as a whole may be deleted.
    ///
    /// # Errors
    /// `NonEmptyGroup`.
    pub fn check_delete(&self) -> Result<(), GroupError> {
        match self.members.is_empty() {
            true => Ok(()),
            false => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Whether members subscribe to the topic.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.subscribers.contains_key(topic) || self.regexes.contains(topic)
    }
}

/// The error for a member in another epoch.
fn stale(member: &Member) -> GroupError {
    match member.classic {
        Some(_) => GroupError::IllegalGeneration,
        None => GroupError::StaleMemberEpoch,
    }
}
