//! Conversion of a classic group of consumers to the consumer protocol and back
//! (`ClassicGroup.fromConsumerGroup`, `usesConsumerGroupProtocol`).

use std::sync::Arc;

use bytes::Bytes;

use super::member::Member;
use super::{
    CONSUMER_PROTOCOL_TYPE, ClassicGroup, Effect, GroupRecord, GroupState, JoinAnswer, MemberInfo,
    Now,
};
use crate::group::config::GroupConfig;
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

/// A consumer as it goes over to the other protocol.
pub struct Consumer {
    /// Its member id.
    pub member_id: MemberId,
    /// What it has reported about itself.
    pub info: MemberInfo,
    /// Its metadata for the generation's protocol.
    pub metadata: Bytes,
    /// What the leader gave it; empty before its first assignment.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// The members, if they are consumers.
    pub fn consumers(&self) -> Option<Vec<Consumer>> {
        if self.protocol_type() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        let protocol = self.protocol_name.as_deref();
        let members = self.members.iter().map(|(id, member)| {
            // Before the first generation there is no protocol yet.
            let first = member.info.protocols.first().map(|first| &*first.name);
            Consumer {
                member_id: id.clone(),
                info: member.info.clone(),
                metadata: member.metadata(protocol.or(first)),
                assignment: member.assignment.clone(),
            }
        });
        Some(members.collect())
    }

    /// A stable group of consumers that come from the other protocol. `assignment` says what a
    /// member has, given its id and its metadata for the group's protocol.
    pub fn of_consumers(
        config: Arc<GroupConfig>,
        generation: i32,
        members: Vec<(MemberId, MemberInfo)>,
        assignment: impl Fn(&MemberId, &[u8]) -> Bytes,
        now: Now,
    ) -> Self {
        let mut group = Self::new(config, now);
        group.generation = generation;
        let protocol_type: Arc<str> = CONSUMER_PROTOCOL_TYPE.into();
        for (id, info) in members {
            group.add_member(id.clone(), &protocol_type, Member::new(info));
            group.restart_session(&id, now.tick_ms);
        }
        group.protocol_name = group.select_protocol();
        let protocol = group.protocol_name.clone();
        let members = group.members.iter();
        let assignments = members.map(|(id, member)| {
            let metadata = member.metadata(protocol.as_deref());
            (id.clone(), assignment(id, &metadata))
        });
        group.assign(assignments.collect());
        group.subscribed = group.compute_subscribed();
        group.state = GroupState::Stable;
        group
    }

    /// The group in the form in which it is stored.
    pub fn to_record(&self) -> GroupRecord {
        self.record(None)
    }

    /// Lets all members join again.
    pub fn rebalance(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.prepare_rebalance(now, &mut effects);
        effects
    }

    /// Another group takes this one's place: all waiting requests should go to it.
    pub fn supersede(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let error = GroupError::RebalanceInProgress;
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let refused = JoinAnswer::refused(id.clone(), error);
            self.answer_join(id, refused, &mut effects);
            self.answer_sync(id, Err(error), &mut effects);
        }
        self.timers.clear();
        effects
    }
}
