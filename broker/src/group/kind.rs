//! The protocol that a group follows, with its members: what a cell holds beside the offsets.
//!
//! Offsets, the store and the timers are the same for every kind. What they have to know of the
//! members they ask here; what only one protocol has is asked of that protocol's own type.

use super::classic::{ClassicGroup, CommitFence, Effect, ExpireFrom, GroupState, Now};
use super::error::GroupError;

/// The protocol of a group.
#[derive(Debug)]
pub(super) enum Kind {
    /// Members assign partitions among themselves (JoinGroup, SyncGroup); also groups of offsets
    /// alone.
    Classic(ClassicGroup),
}

impl Kind {
    /// The group's members, if they follow the classic protocol.
    pub fn classic(&self) -> Option<&ClassicGroup> {
        let Self::Classic(group) = self;
        Some(group)
    }

    /// The group's members, if they follow the classic protocol.
    pub fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        let Self::Classic(group) = self;
        Some(group)
    }

    /// About how many bytes the members take in memory.
    pub fn held_bytes(&self) -> usize {
        let Self::Classic(group) = self;
        group.held_bytes()
    }

    /// Whether the group was removed.
    pub fn is_dead(&self) -> bool {
        let Self::Classic(group) = self;
        group.state() == GroupState::Dead
    }

    /// Whether it has no members, so that it may be deleted.
    pub fn is_empty(&self) -> bool {
        let Self::Classic(group) = self;
        group.is_empty()
    }

    /// Whether an id was given out that nobody has joined with yet.
    pub fn has_pending_members(&self) -> bool {
        let Self::Classic(group) = self;
        group.has_pending_members()
    }

    /// Kafka's name of the state.
    pub fn state_name(&self) -> &'static str {
        let Self::Classic(group) = self;
        group.state().name()
    }

    /// The protocol type, empty for a group of offsets alone.
    pub fn protocol_type(&self) -> &str {
        let Self::Classic(group) = self;
        group.protocol_type().unwrap_or_default()
    }

    /// Decides whether a commit is taken; one that is taken may be a sign of life.
    ///
    /// # Errors
    /// What the committer has to know.
    pub fn fence_commit(&mut self, fence: &CommitFence, now: Now) -> Result<(), GroupError> {
        let Self::Classic(group) = self;
        group.fence_commit(fence, now)
    }

    /// Decides whether a commit in a transaction is taken.
    ///
    /// # Errors
    /// What the committer has to know.
    pub fn fence_transactional_commit(&self, fence: &CommitFence) -> Result<(), GroupError> {
        let Self::Classic(group) = self;
        group.fence_transactional_commit(fence)
    }

    /// Whether the group as a whole may be deleted.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`.
    pub fn check_delete(&self) -> Result<(), GroupError> {
        let Self::Classic(group) = self;
        group.check_delete()
    }

    /// Whether offsets may be deleted at all; [`Self::is_subscribed`] decides by topic.
    ///
    /// # Errors
    /// `NonEmptyGroup`, `GroupNotFound`.
    pub fn check_offset_delete(&self) -> Result<(), GroupError> {
        let Self::Classic(group) = self;
        group.check_offset_delete()
    }

    /// Whether members read the topic, or might.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        let Self::Classic(group) = self;
        group.is_subscribed(topic)
    }

    /// From when on offsets of unsubscribed topics age; `None` while they don't.
    pub fn expire_from(&self) -> Option<ExpireFrom> {
        let Self::Classic(group) = self;
        group.expire_from()
    }

    /// When the group wants to be woken next, in [`Now::tick_ms`].
    pub fn next_deadline_ms(&self) -> Option<i64> {
        let Self::Classic(group) = self;
        group.next_deadline_ms()
    }

    /// Answers all that waits and turns the group dead: it was deleted, or the broker stops.
    pub fn close(&mut self, now: Now) -> Vec<Effect> {
        let Self::Classic(group) = self;
        group.close(now)
    }
}
