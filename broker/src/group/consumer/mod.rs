//! One group of the consumer protocol (KIP-848; `ConsumerGroup` and the consumer parts of
//! `GroupMetadataManager` in Kafka 4.3) as a synchronous state machine.
//!
//! It reads no clock, waits for nothing and stores nothing: time and topics come in with every
//! event ([`Env`]), [`ConsumerGroup::take_changes`] returns what must be stored, and
//! [`ConsumerGroup::next_deadline_ms`] says when it needs [`ConsumerGroup::tick`]. Every event
//! either fails and changes nothing, or succeeds; its answer is valid once the changes are durable.
//!
//! Three epochs: a change of members, subscriptions or topics raises the group's epoch; a new
//! target assignment is computed for it; each member then moves to the target with its own
//! heartbeats, first releases what belongs to another member, and has the target's epoch from then
//! on.
//!
//! Invariants:
//! - A partition has at most one owner: the member to which it is assigned, or the member that has
//!   been told to release it and has not confirmed that yet.
//! - `assignment_epoch <= group_epoch`; a member's epoch is at most `assignment_epoch`.
//! - What a member has been told to read is at most what it owns.
//! - All members of the classic protocol (JoinGroup and SyncGroup for a group of this kind) share
//!   one of their protocols.
//!
//! Files: `membership` (the members), `heartbeat`, `leave`, `reconcile` (moves a member to its
//! target), `target` (epochs, the target assignment), `regex`, `assignor`, `classic_members`,
//! `convert` (from and to the classic protocol), `embedded` (the bytes of classic consumers),
//! `offsets` (who may commit), `snapshot` (records, description), `weight` (memory).

mod assignor;
mod classic_members;
mod convert;
mod embedded;
mod heartbeat;
mod leave;
mod member;
mod membership;
mod offsets;
mod reconcile;
mod regex;
mod snapshot;
mod target;
mod weight;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use carrick_protocol::ids::TopicId;

pub use self::heartbeat::{HeartbeatAnswer, HeartbeatRequest};
pub use self::member::{Epochs, Member, MemberState, Partitions};
use self::regex::Subscriptions;
pub use self::snapshot::{Changes, DescribedGroup, DescribedMember, Stored, StoredKeys};
use self::target::Assignment;
use super::classic::{ClassicGroup, Now};
use super::timers::Timers;
use crate::group::config::{GroupConfig, Settings};
use crate::records::member_ids::{InstanceId, MemberId};
use crate::topic::TopicImage;

/// The epoch with which a member joins.
pub const JOIN_EPOCH: i32 = 0;

/// The epoch of a group that has never had a member: the first member raises it.
const NEW_GROUP_EPOCH: i32 = 1;

/// The epoch with which a member leaves.
pub const LEAVE_EPOCH: i32 = -1;

/// The epoch with which a static member leaves that will be back, and that it has until then.
pub const STATIC_LEAVE_EPOCH: i32 = -2;

/// What an event may know of the world.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    pub now: Now,
    pub topics: &'a TopicImage,
    /// The group's settings.
    pub settings: Settings,
}

/// States of a consumer group, with Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerGroupState {
    /// No members.
    Empty,
    /// The target assignment is older than the group.
    Assigning,
    /// Some member has not come to the target yet.
    Reconciling,
    /// Every member has what it should have.
    Stable,
    /// Removed.
    Dead,
}

impl ConsumerGroupState {
    /// Kafka's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for ConsumerGroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a timer of the group is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TimerKey {
    /// The member has been silent for its session timeout.
    Session(MemberId),
    /// The member has not released its partitions in time.
    Rebalance(MemberId),
    /// The classic member was told to join again and did not do so in time.
    Join(MemberId),
    /// The classic member has joined and not asked for its assignment in time.
    Sync(MemberId),
}

/// A group of the consumer protocol. See the module's doc.
#[derive(Debug)]
pub struct ConsumerGroup {
    config: Arc<GroupConfig>,
    /// Raised whenever the target assignment must be computed again.
    group_epoch: i32,
    /// Of the subscribed topics, their ids and numbers of partitions.
    metadata_hash: u64,
    /// The group's epoch for which the target was computed.
    assignment_epoch: i32,
    /// Wall clock of that computation; 0 if unknown.
    assigned_ms: i64,
    members: BTreeMap<MemberId, Member>,
    static_members: HashMap<InstanceId, MemberId>,
    targets: BTreeMap<MemberId, Partitions>,
    owners: HashMap<(TopicId, i32), MemberId>,
    members_bytes: usize,
    /// How many members subscribe to each topic by name.
    subscribers: BTreeMap<String, usize>,
    /// How many members are in state `Stable` in each epoch.
    stable: BTreeMap<i32, usize>,
    /// The regular expressions that members subscribe with, and the topics that match.
    regexes: Subscriptions,
    /// A target must be computed elsewhere, or is being computed.
    assignment: Assignment,
    /// Version of the topics that were last used.
    seen_topics: Option<u64>,
    timers: Timers<TimerKey>,
    /// What differs from what was handed to the store.
    unstored: StoredKeys,
    /// The classic group that this one has become, and whether it should rebalance immediately.
    successor: Option<Box<Successor>>,
    is_dead: bool,
}

/// What follows a group whose last member of the consumer protocol has left.
#[derive(Debug)]
pub struct Successor {
    /// The group from now on.
    pub group: ClassicGroup,
    /// Whether its members should join again.
    pub rebalance: bool,
}

impl ConsumerGroup {
    /// A group without members that has never had any.
    pub fn new(config: Arc<GroupConfig>) -> Self {
        Self {
            config,
            group_epoch: NEW_GROUP_EPOCH,
            metadata_hash: target::HASH_OF_NOTHING,
            assignment_epoch: 0,
            assigned_ms: 0,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            targets: BTreeMap::new(),
            owners: HashMap::new(),
            members_bytes: 0,
            subscribers: BTreeMap::new(),
            stable: BTreeMap::new(),
            regexes: Subscriptions::default(),
            assignment: Assignment::default(),
            seen_topics: None,
            timers: Timers::default(),
            unstored: StoredKeys::default(),
            successor: None,
            is_dead: false,
        }
    }

    /// The group's epoch.
    pub fn group_epoch(&self) -> i32 {
        self.group_epoch
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no members, so that it may be deleted.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && !self.is_dead
    }

    pub fn state(&self) -> ConsumerGroupState {
        let epoch = self.assignment_epoch;
        if self.is_dead {
            ConsumerGroupState::Dead
        } else if self.members.is_empty() {
            ConsumerGroupState::Empty
        } else if self.group_epoch > epoch {
            ConsumerGroupState::Assigning
        } else if self.stable.get(&epoch) == Some(&self.members.len()) {
            ConsumerGroupState::Stable
        } else {
            ConsumerGroupState::Reconciling
        }
    }

    /// When [`Self::tick`] is wanted next, in [`Now::tick_ms`].
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_deadline_ms()
    }

    /// Time has passed, perhaps [`Self::next_deadline_ms`]: members that have timed out are
    /// removed.
    pub fn tick(&mut self, env: &Env<'_>) {
        let mut gone = BTreeSet::new();
        while let Some(key) = self.timers.pop_due(env.now.tick_ms) {
            let fenced = match key {
                TimerKey::Rebalance(id) => {
                    let late =
                        |member: &Member| member.rebalance_epoch == Some(member.member_epoch);
                    self.members.get(&id).is_some_and(late).then_some(id)
                }
                TimerKey::Session(id) | TimerKey::Join(id) | TimerKey::Sync(id) => Some(id),
            };
            gone.extend(fenced.filter(|id| self.members.contains_key(id)));
        }
        self.fence(&gone, env);
    }

    /// Turns the group dead: it was deleted, or the broker stops.
    pub fn close(&mut self) {
        self.timers.clear();
        self.is_dead = true;
    }

    /// The classic group that this one has become, once.
    pub fn take_successor(&mut self) -> Option<Successor> {
        self.successor.take().map(|successor| *successor)
    }
}
