//! The protocol that a group follows, with its members: what a group holds in addition to the
//! offsets.
//!
//! Offsets, the journal and the timers are the same for every kind. They ask here for what they
//! need to know about members; features of one protocol only are methods of that protocol's own
//! type.

use super::classic::{
    CONSUMER_PROTOCOL_TYPE, ClassicGroup, CommitFence, Effect, ExpireFrom, GroupState, JoinRequest,
    Now,
};
use super::commit::CommitRequest;
use super::consumer::{ConsumerGroup, ConsumerGroupState};
use super::error::GroupError;
use crate::records::member_ids::MemberId;

/// The protocol of a group.
#[derive(Debug)]
pub(super) enum Kind {
    /// Members assign partitions among themselves (JoinGroup, SyncGroup); also groups of offsets
    /// alone.
    Classic(Box<ClassicGroup>),
    /// The coordinator assigns (KIP-848).
    Consumer(Box<ConsumerGroup>),
}

impl From<ClassicGroup> for Kind {
    fn from(group: ClassicGroup) -> Self {
        Self::Classic(Box::new(group))
    }
}

impl From<ConsumerGroup> for Kind {
    fn from(group: ConsumerGroup) -> Self {
        Self::Consumer(Box::new(group))
    }
}

impl Kind {
    /// The group's members, if they follow the classic protocol.
    pub fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    /// The group's members, if they follow the classic protocol.
    pub fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    /// The group's members, if they follow the consumer protocol.
    pub fn consumer_mut(&mut self) -> Option<&mut ConsumerGroup> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(group) => Some(group),
        }
    }

    /// Kafka's name of the kind (`Group.GroupType`).
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::Consumer(_) => "consumer",
        }
    }

    /// About how many bytes the members take in memory.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Classic(group) => group.held_bytes(),
            Self::Consumer(group) => group.held_bytes(),
        }
    }

    /// By how many bytes the group would grow with this join of a classic member.
    pub fn join_growth_bytes(&self, request: &JoinRequest) -> usize {
        match self {
            Self::Classic(group) => group.join_growth_bytes(request),
            Self::Consumer(group) => group.join_growth_bytes(request),
        }
    }

    /// Whether the group was removed.
    pub fn is_dead(&self) -> bool {
        match self {
            Self::Classic(group) => group.state() == GroupState::Dead,
            Self::Consumer(group) => group.state() == ConsumerGroupState::Dead,
        }
    }

    /// Whether it has no members, so that it may be deleted.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_empty(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// Whether there is an issued id that has not joined yet.
    pub fn has_pending_members(&self) -> bool {
        self.classic()
            .is_some_and(ClassicGroup::has_pending_members)
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        match self {
            Self::Classic(group) => group.member_count(),
            Self::Consumer(group) => group.member_count(),
        }
    }

    /// Kafka's name of the state.
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state().name(),
            Self::Consumer(group) => group.state().name(),
        }
    }

    /// The generation, or the group's epoch.
    pub fn epoch(&self) -> i32 {
        match self {
            Self::Classic(group) => group.generation(),
            Self::Consumer(group) => group.group_epoch(),
        }
    }

    /// The protocol type, empty for a group of offsets alone.
    pub fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type().unwrap_or_default(),
            Self::Consumer(_) => CONSUMER_PROTOCOL_TYPE,
        }
    }

    /// Decides whether a commit is taken; one that is taken may be a sign of life.
    /// [`Self::fence_partitions`] decides by partition.
    ///
    /// # Errors
    /// What the committer has to know.
    pub fn fence_commit(&mut self, fence: &CommitFence, now: Now) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) => group.fence_commit(fence, now),
            Self::Consumer(group) => group.fence_commit(fence),
        }
    }

    /// Decides whether a commit that is taken may be for its partitions.
    ///
    /// # Errors
    /// What the committer has to know.
    pub fn fence_partitions(&self, request: &CommitRequest) -> Result<(), GroupError> {
        let Self::Consumer(group) = self else {
            return Ok(());
        };
        let mut offsets = request.offsets.iter();
        offsets
            .try_for_each(|new| group.fence_partition(&request.fence, new.topic_id, new.partition))
    }

    /// Whether a member may see the group's offsets.
    ///
    /// # Errors
    /// What it needs to know.
    pub fn fence_fetch(&self, member: Option<&MemberId>, epoch: i32) -> Result<(), GroupError> {
        match self {
            Self::Classic(_) => Ok(()),
            Self::Consumer(group) => group.fence_fetch(member, epoch),
        }
    }

    /// Decides whether a commit in a transaction is taken.
    ///
    /// # Errors
    /// What the committer has to know.
    pub fn fence_transactional_commit(&self, fence: &CommitFence) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) => group.fence_transactional_commit(fence),
            Self::Consumer(group) => group.fence_transactional_commit(fence),
        }
    }

    /// Whether the group as a whole may be deleted.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`.
    pub fn check_delete(&self) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) => group.check_delete(),
            Self::Consumer(group) => group.check_delete(),
        }
    }

    /// Whether offsets may be deleted at all; [`Self::is_subscribed`] decides by topic.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`.
    pub fn check_offset_delete(&self) -> Result<(), GroupError> {
        match self {
            Self::Classic(group) => group.check_offset_delete(),
            Self::Consumer(_) => Ok(()),
        }
    }

    /// Whether members read the topic, or might.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed(topic),
            Self::Consumer(group) => group.is_subscribed(topic),
        }
    }

    /// From when on offsets of unsubscribed topics age; `None` while they don't.
    pub fn expire_from(&self) -> Option<ExpireFrom> {
        match self {
            Self::Classic(group) => group.expire_from(),
            Self::Consumer(_) => Some(ExpireFrom::Commit),
        }
    }

    /// When the group wants to be woken next, in [`Now::tick_ms`].
    pub fn next_deadline_ms(&self) -> Option<i64> {
        match self {
            Self::Classic(group) => group.next_deadline_ms(),
            Self::Consumer(group) => group.next_deadline_ms(),
        }
    }

    /// Answers all that waits and turns the group dead: it was deleted, or the broker stops.
    pub fn close(&mut self, now: Now) -> Vec<Effect> {
        match self {
            Self::Classic(group) => group.close(now),
            Self::Consumer(group) => {
                group.close();
                Vec::new()
            }
        }
    }
}
