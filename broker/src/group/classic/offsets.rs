//! What a group's members mean for its offsets: which requests may commit, what may be deleted,
//! what expires. The offsets themselves are in `group::offsets`.

use super::{CONSUMER_PROTOCOL_TYPE, ClassicGroup, GroupState, Now};
use crate::group::error::GroupError;
use crate::records::member_ids::{InstanceId, MemberId};

/// What an OffsetCommit request says about who commits.
#[derive(Clone, Debug)]
pub struct CommitFence {
    /// Empty for a consumer that assigns partitions to itself, and for administrators.
    pub member_id: MemberId,
    /// Its static instance, if any.
    pub instance_id: Option<InstanceId>,
    /// −1 for a consumer that assigns partitions to itself.
    pub generation: i32,
    /// Whether the request is one that members of the consumer protocol may use: OffsetCommit from
    /// version 9 on, and all of TxnOffsetCommit.
    pub knows_epochs: bool,
}

/// From when on the retention time of an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireFrom {
    /// From this wall-clock time: when the group became empty.
    Fixed(i64),
    /// From the commit of each offset.
    Commit,
}

impl ClassicGroup {
    /// Decides whether the commit is taken, as `ClassicGroup.validateOffsetCommit` does; a commit
    /// that is taken is a sign of life of the member.
    ///
    /// A generation below 0 without a member is a consumer that assigns itself or an
    /// administrator: it may commit only while the group is empty.
    pub fn fence_commit(&mut self, fence: &CommitFence, now: Now) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::Gone);
        }
        if fence.generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        let anonymous =
            fence.generation < 0 && fence.member_id.is_empty() && fence.instance_id.is_none();
        if anonymous {
            return Err(GroupError::UnknownMember);
        }
        self.check_member(&fence.member_id, fence.instance_id.as_ref())?;
        if fence.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        self.restart_session(&fence.member_id, now.tick_ms);
        Ok(())
    }

    /// Decides whether a commit in a transaction is taken. Older producers name no member and no
    /// generation, and the state of the group does not matter to any.
    ///
    /// # Errors
    /// `UnknownMember`, `FencedInstance`, `IllegalGeneration`.
    pub fn fence_transactional_commit(&self, fence: &CommitFence) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::Gone);
        }
        let anonymous =
            fence.generation < 0 && fence.member_id.is_empty() && fence.instance_id.is_none();
        if anonymous || (fence.generation < 0 && self.state == GroupState::Empty) {
            return Ok(());
        }
        self.check_member(&fence.member_id, fence.instance_id.as_ref())?;
        match fence.generation == self.generation {
            true => Ok(()),
            false => Err(GroupError::IllegalGeneration),
        }
    }

    /// Whether the group as a whole may be deleted.
    pub fn check_delete(&self) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty => Ok(()),
            GroupState::Dead => Err(GroupError::GroupNotFound),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Whether offsets may be deleted at all; [`Self::is_subscribed`] decides by topic.
    pub fn check_offset_delete(&self) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty => Ok(()),
            GroupState::Dead => Err(GroupError::GroupNotFound),
            _ if self.is_consumer() => Ok(()),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Whether members read the topic, or might: of a `consumer` group whose subscriptions can't
    /// be read, all topics count.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_consumer(),
        }
    }

    /// From when on offsets of unsubscribed topics age; `None` while they don't.
    pub fn expire_from(&self) -> Option<ExpireFrom> {
        if self.protocol_type.is_none() {
            return Some(ExpireFrom::Commit);
        }
        match self.state {
            GroupState::Empty => Some(
                self.state_since_ms
                    .map_or(ExpireFrom::Commit, ExpireFrom::Fixed),
            ),
            GroupState::Stable if self.subscribed.is_some() => Some(ExpireFrom::Commit),
            _ => None,
        }
    }

    /// Whether there is an issued id that has not joined yet.
    pub fn has_pending_members(&self) -> bool {
        !self.pending_joins.is_empty()
    }

    fn is_consumer(&self) -> bool {
        self.protocol_type() == Some(CONSUMER_PROTOCOL_TYPE)
    }
}
