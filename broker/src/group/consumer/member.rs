//! One member of a consumer group (`ConsumerGroupMember` in Kafka).

use std::collections::BTreeSet;

use carrick_protocol::ids::TopicId;

use super::STATIC_LEAVE_EPOCH;
pub use crate::records::consumer_member::{ClassicMember, Epochs, Member, MemberState, Partitions};

impl Member {
    /// Whether nothing is left to do for that target.
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == target_epoch
    }

    /// Whether it is a static member that has left for a while.
    pub fn is_away(&self) -> bool {
        self.member_epoch == STATIC_LEAVE_EPOCH
    }

    /// Every partition that no other member may have.
    pub fn owned(&self) -> impl Iterator<Item = (TopicId, i32)> {
        let all = self.assigned.iter().chain(&self.revoking);
        all.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (*topic, *partition)))
    }

    /// The epoch in which the member got the partition, while it owns it.
    pub fn epoch_of(&self, topic: TopicId, partition: i32) -> Option<i32> {
        let of = |epochs: &Epochs| epochs.get(&topic)?.get(&partition).copied();
        of(&self.assigned).or_else(|| of(&self.revoking))
    }

    /// Moves to an epoch, perhaps its current one.
    pub fn advance(&mut self, member_epoch: i32) {
        self.previous_epoch = std::mem::replace(&mut self.member_epoch, member_epoch);
    }
}

/// Partitions without their epochs.
pub(super) fn without_epochs(epochs: &Epochs) -> Partitions {
    let topics = epochs.iter();
    topics
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

/// Partitions that all have the same epoch.
pub(super) fn with_epoch(partitions: &Partitions, epoch: i32) -> Epochs {
    let each = |partitions: &BTreeSet<i32>| partitions.iter().map(|at| (*at, epoch)).collect();
    let topics = partitions.iter();
    topics
        .map(|(topic, partitions)| (*topic, each(partitions)))
        .collect()
}
