//! One member of a consumer group (`ConsumerGroupMember` in Kafka).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carrick_protocol::ids::TopicId;

use super::STATIC_LEAVE_EPOCH;
use crate::group::classic::Protocol;
use crate::group::ids::InstanceId;

/// Partitions by topic. No topic stands there without a partition.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// Partitions by topic, each with the epoch in which its member got it. No topic stands there
/// without a partition.
pub type Epochs = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// How far a member has moved towards the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has all that the target of its epoch gives it.
    #[default]
    Stable,
    /// It has been told to release partitions and has not confirmed that yet.
    Unrevoked,
    /// Partitions of its target still have another owner.
    Unreleased,
}

/// What a member of the classic protocol has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassicMember {
    /// It is dead when nothing has been heard for this long.
    pub session_timeout_ms: i32,
    /// Most wanted first; not empty.
    pub protocols: Vec<Protocol>,
}

/// A member, in memory and on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The epoch that it has reached; [`STATIC_LEAVE_EPOCH`] while it is away.
    pub member_epoch: i32,
    /// The epoch before: the answer that told the present one may have been lost.
    pub previous_epoch: i32,
    /// How far it has got.
    pub state: MemberState,
    /// The static instance, if it is one.
    pub instance_id: Option<InstanceId>,
    /// Its rack, if it says so.
    pub rack_id: Option<String>,
    /// How long it may take to release partitions.
    pub rebalance_timeout_ms: i32,
    /// Client id of the connection it was last heard over.
    pub client_id: Arc<str>,
    /// Address it was last heard from, in Kafka's form (`/10.0.0.1`).
    pub client_host: Arc<str>,
    /// The topics that it subscribes to by name.
    pub topics: BTreeSet<String>,
    /// The regular expression that it subscribes with; empty for none.
    pub regex: Arc<str>,
    /// The assignor that it wants, if it says so.
    pub assignor: Option<String>,
    /// The partitions that it has been told to read.
    pub assigned: Epochs,
    /// The partitions that it has been told to release and may still read.
    pub revoking: Epochs,
    /// Set for a member of the classic protocol.
    pub classic: Option<ClassicMember>,
    /// The epoch in which its rebalance timer was started. Not stored.
    pub rebalance_epoch: Option<i32>,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            member_epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            client_id: "".into(),
            client_host: "".into(),
            topics: BTreeSet::new(),
            regex: "".into(),
            assignor: None,
            assigned: Epochs::new(),
            revoking: Epochs::new(),
            classic: None,
            rebalance_epoch: None,
        }
    }
}

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
