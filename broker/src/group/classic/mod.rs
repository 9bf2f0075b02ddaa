//! One group of the classic protocol (`ClassicGroup` and the classic parts of
//! `GroupMetadataManager` in Kafka 4.3) as a synchronous state machine.
//!
//! It reads no clock, waits for nothing and stores nothing: time comes in with every event,
//! [`Effect`]s say what must be done, and [`ClassicGroup::next_deadline_ms`] says when it needs
//! [`Event::Tick`]. So every test drives it directly, and the coordinator keeps it under one short
//! lock.
//!
//! Invariants:
//! - A request that was parked (its [`Ticket`] is held by a member) is answered once: when the
//!   phase ends, or with an error when its member leaves or sends the request again.
//! - An assignment is sent to members only in the generation whose leader made it.
//! - The group is `Stable` only once the assignment is stored; members that see it are on disk.
//! - `leader` is a member, or `None` exactly when there are no members (asserted).
//! - All members share the protocol type and support the protocol of the generation.
//!
//! Files: `membership` (the members), `join`, `rebalance` (phases and their timers), `sync`,
//! `weight` (memory), `migrate` (from and to the consumer protocol), `session` (heartbeat, leave),
//! `offsets` (who may commit, what expires), `snapshot` (record on disk, description).

mod join;
mod member;
mod membership;
pub(in crate::group) mod migrate;
mod offsets;
mod rebalance;
mod session;
mod snapshot;
mod subscription;
mod sync;
mod weight;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use self::member::Member;
pub(in crate::group) use self::member::unique_protocols;
pub use self::member::{MemberInfo, Protocol};
pub use self::offsets::CommitFence;
pub use self::offsets::ExpireFrom;
pub use self::session::{HeartbeatRequest, Leaving};
pub use self::snapshot::{DescribedMember, GroupRecord};
use self::weight::Weight;
use super::error::GroupError;
use super::timers::Timers;
use crate::group::config::GroupConfig;
use crate::records::member_ids::{InstanceId, MemberId};

/// The protocol type of Kafka's consumers.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// Names one request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The time, handed to every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds: what timers are measured in.
    pub tick_ms: i64,
    /// Milliseconds since 1970: what is stored.
    pub wall_ms: i64,
}

/// States of a classic group, with Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; committed offsets may be there.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// The generation is active.
    Stable,
    /// Removed.
    Dead,
}

impl GroupState {
    /// Kafka's name of the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether the group may go from this state to `next`.
    pub fn may_become(self, next: Self) -> bool {
        use GroupState::*;
        match next {
            Empty => self == PreparingRebalance,
            PreparingRebalance => matches!(self, Stable | CompletingRebalance | Empty),
            CompletingRebalance => self == PreparingRebalance,
            Stable => self == CompletingRebalance,
            Dead => true,
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Empty for a member that has none yet.
    pub member_id: MemberId,
    /// The id it gets if it is new (and unused else): made by the caller, since it is random.
    pub fresh_member_id: MemberId,
    /// `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// What it says about itself.
    pub info: MemberInfo,
    /// Version 4 on: a new dynamic member gets an id first and joins with it then (KIP-394).
    pub member_id_required: bool,
    /// Version 9 on: a returning static leader may be told to keep the assignment (KIP-814).
    pub may_skip_assignment: bool,
}

/// The answer to a JoinGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// Why the join failed; most other fields are then empty.
    pub error: Option<GroupError>,
    /// The member's id.
    pub member_id: MemberId,
    /// The generation joined, −1 on errors.
    pub generation: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol chosen for this generation.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: MemberId,
    /// All members with their metadata, for the leader only.
    pub members: Vec<JoinedMember>,
    /// The leader should not compute an assignment.
    pub skip_assignment: bool,
}

impl JoinAnswer {
    pub fn refused(member_id: MemberId, error: GroupError) -> Self {
        Self {
            error: Some(error),
            member_id,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: MemberId::default(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: MemberId,
    /// Its static instance, if any.
    pub instance_id: Option<InstanceId>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    pub member_id: MemberId,
    /// Its static instance, if any.
    pub instance_id: Option<InstanceId>,
    /// The generation it has joined.
    pub generation: i32,
    /// The protocol type it knows, if it names one.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol it knows, if it names one.
    pub protocol_name: Option<Arc<str>>,
    /// What each member gets, from the leader only.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// The answer to a SyncGroup request that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The group's protocol type.
    pub protocol_type: Option<Arc<str>>,
    /// The generation's protocol.
    pub protocol_name: Option<Arc<str>>,
    /// What the leader gave this member.
    pub assignment: Bytes,
}

/// The answer to a SyncGroup request.
pub type SyncAnswer = Result<Synced, GroupError>;

/// What happens to a group.
#[derive(Debug)]
pub enum Event {
    /// A member joins; answered by [`Effect::Joined`], perhaps much later.
    Join(JoinRequest, Ticket),
    /// A member asks for its assignment; answered by [`Effect::Synced`], perhaps much later.
    Sync(SyncRequest, Ticket),
    /// A record handed out by [`Effect::Store`] is durable, or could not be stored.
    Stored(StoreStep, Result<(), GroupError>),
    /// The time has moved on, perhaps past [`ClassicGroup::next_deadline_ms`].
    Tick,
}

/// What is to be done after an event, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Answer a join.
    Joined(Ticket, JoinAnswer),
    /// Answer a sync.
    Synced(Ticket, SyncAnswer),
    /// Make the record durable, then come back with [`Event::Stored`] and the same step.
    Store(Box<GroupRecord>, StoreStep),
}

/// Why a record is stored, and what continues after that.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreStep {
    /// The group became empty. Nothing waits for it.
    Empty,
    /// The leader's assignment: once stored, members get it and the group is stable.
    Assignment {
        /// The generation it is for.
        generation: i32,
        /// What each member gets.
        assignments: BTreeMap<MemberId, Bytes>,
    },
    /// A static member came back under a new id: once stored, its join is answered.
    StaticMember(Box<StaticReturn>),
}

/// A static member's return while the group is stable, undone if it can't be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticReturn {
    instance_id: InstanceId,
    old_member_id: MemberId,
    new_member_id: MemberId,
    old_info: MemberInfo,
    /// The leader's id as clients below version 9 want to see it: before the change.
    old_leader: MemberId,
    may_skip_assignment: bool,
}

/// A group of the classic protocol. See the module's doc.
#[derive(Debug)]
pub struct ClassicGroup {
    config: Arc<GroupConfig>,
    state: GroupState,
    previous_state: GroupState,
    /// Wall clock of the last change of state; unknown for records of old.
    state_since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<Arc<str>>,
    protocol_name: Option<Arc<str>>,
    leader: Option<MemberId>,
    members: BTreeMap<MemberId, Member>,
    static_members: HashMap<InstanceId, MemberId>,
    /// Issued ids that have not joined yet (KIP-394).
    pending_joins: BTreeSet<MemberId>,
    /// Members that have not asked for their assignment in this generation.
    pending_syncs: BTreeSet<MemberId>,
    /// How many members support each protocol.
    supported: HashMap<Arc<str>, usize>,
    /// How many members hold a parked join.
    awaiting_join: usize,
    /// Topics the members subscribe to, as far as the coordinator can tell.
    subscribed: Option<BTreeSet<String>>,
    join_wait: JoinWait,
    timers: Timers<TimerKey>,
    weight: Weight,
}

/// What a timer of the group is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TimerKey {
    /// The member has been silent for its session timeout.
    Session(MemberId),
    /// The join phase has lasted long enough.
    Join,
    /// The sync phase has lasted long enough.
    Sync,
}

/// What the end of the join timer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinWait {
    /// First rebalance of an empty group: more time is given while new members arrive.
    Initial {
        delay_ms: i64,
        remaining_ms: i64,
        member_added: bool,
    },
    /// Members that have not joined by then are removed.
    Rebalance,
}

impl ClassicGroup {
    /// An empty group of generation 0, without a protocol: also what a group of committed offsets
    /// alone ("simple") is.
    pub fn new(config: Arc<GroupConfig>, now: Now) -> Self {
        Self {
            config,
            state: GroupState::Empty,
            previous_state: GroupState::Dead,
            state_since_ms: Some(now.wall_ms),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            supported: HashMap::new(),
            awaiting_join: 0,
            subscribed: None,
            join_wait: JoinWait::Rebalance,
            timers: Timers::default(),
            weight: Weight::default(),
        }
    }

    /// Applies `event` at `now`; returns what is to be done, in order.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Join(request, ticket) => self.join(request, ticket, now, &mut effects),
            Event::Sync(request, ticket) => self.sync(request, ticket, now, &mut effects),
            Event::Stored(step, result) => self.stored(step, result, now, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// Answers all that waits and turns the group dead: it was deleted, or the broker stops.
    pub fn close(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let refused = JoinAnswer::refused(id.clone(), GroupError::ShuttingDown);
            self.answer_join(id, refused, &mut effects);
            self.answer_sync(id, Err(GroupError::ShuttingDown), &mut effects);
        }
        self.timers.clear();
        self.transition(GroupState::Dead, now);
        effects
    }

    /// When [`Event::Tick`] is wanted next, in [`Now::tick_ms`].
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.timers.next_deadline_ms()
    }

    pub fn state(&self) -> GroupState {
        self.state
    }

    /// The generation; 0 before the first.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// The protocol type, `None` for a group of offsets alone.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no members, so that it may be deleted.
    pub fn is_empty(&self) -> bool {
        self.state == GroupState::Empty
    }

    fn max_size(&self) -> usize {
        usize::try_from(self.config.max_size).unwrap_or(usize::MAX)
    }

    fn transition(&mut self, next: GroupState, now: Now) {
        assert!(
            self.state.may_become(next),
            "a group went from {} to {next}",
            self.state
        );
        self.previous_state = self.state;
        self.state = next;
        self.state_since_ms = Some(now.wall_ms);
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while let Some(key) = self.timers.pop_due(now.tick_ms) {
            match key {
                TimerKey::Session(member_id) => self.session_expired(&member_id, now, effects),
                TimerKey::Join => self.join_wait_over(now, effects),
                TimerKey::Sync => self.sync_wait_over(now, effects),
            }
        }
    }
}
