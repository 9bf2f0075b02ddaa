//! Membership of the group: adding, removing, replacing members, the leader and the protocol.
//!
//! The only file that changes `members`, `static_members`, `supported`, `awaiting_join` and
//! `pending_joins`, so that they always agree.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::member::Member;
use super::subscription::read_topics;
use super::weight::{pending_bytes, protocol_bytes};
use super::{
    CONSUMER_PROTOCOL_TYPE, ClassicGroup, Effect, GroupState, JoinAnswer, JoinedMember, MemberInfo,
    Protocol, SyncAnswer, Ticket, TimerKey,
};
use crate::group::error::GroupError;
use crate::group::limits::MAX_SUBSCRIBED_TOPICS;
use crate::records::member_ids::{InstanceId, MemberId};

impl ClassicGroup {
    /// Adds a member that has passed [`Self::supports_protocols`]; its instance is not in use.
    pub(super) fn add_member(&mut self, id: MemberId, protocol_type: &Arc<str>, member: Member) {
        if let Some(instance) = &member.info.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.count_protocols(&member.info.protocols);
        self.weigh_in(&member);
        self.remove_pending(&id);
        let replaced = self.members.insert(id, member);
        assert!(replaced.is_none(), "a member was added twice");
        self.check_leader();
    }

    /// The leader is a member, or there are none.
    fn check_leader(&self) {
        let has_leader = match &self.leader {
            Some(leader) => self.members.contains_key(leader),
            None => self.members.is_empty(),
        };
        assert!(has_leader, "the leader is a member, or there are none");
    }

    /// Records an issued id.
    pub(super) fn add_pending(&mut self, id: &MemberId) {
        if self.pending_joins.insert(id.clone()) {
            self.weight.pending += pending_bytes(id);
        }
    }

    fn remove_pending(&mut self, id: &MemberId) {
        if self.pending_joins.remove(id) {
            self.weight.pending -= pending_bytes(id);
        }
    }

    /// Removes a member or a pending id, and answers its waiting requests with `UnknownMember`.
    pub(super) fn remove_member(&mut self, id: &MemberId, effects: &mut Vec<Effect>) {
        let nobody = JoinAnswer::refused(MemberId::default(), GroupError::UnknownMember);
        self.answer_join(id, nobody, effects);
        self.answer_sync(id, Err(GroupError::UnknownMember), effects);
        if let Some(member) = self.members.remove(id) {
            self.weigh_out(&member);
            self.discount_protocols(&member.info.protocols);
            if let Some(instance) = &member.info.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.check_leader();
        self.remove_pending(id);
        self.pending_syncs.remove(id);
        self.timers.cancel(&TimerKey::Session(id.clone()));
    }

    /// Gives a static member's place to a new id. Requests that wait under the old id are fenced.
    pub(super) fn replace_static_member(
        &mut self,
        instance: &InstanceId,
        old: &MemberId,
        new: &MemberId,
        effects: &mut Vec<Effect>,
    ) {
        let fenced = JoinAnswer::refused(old.clone(), GroupError::FencedInstance);
        self.answer_join(old, fenced, effects);
        self.answer_sync(old, Err(GroupError::FencedInstance), effects);
        self.timers.cancel(&TimerKey::Session(old.clone()));
        if let Some(mut member) = self.members.remove(old) {
            member.is_new = false;
            self.members.insert(new.clone(), member);
        }
        if self.pending_syncs.remove(old) {
            self.pending_syncs.insert(new.clone());
        }
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        self.check_leader();
        self.static_members.insert(instance.clone(), new.clone());
    }

    /// Takes over what a joining member says of itself, and parks its join if there is one.
    pub(super) fn update_member(
        &mut self,
        id: &MemberId,
        protocols: Vec<Protocol>,
        timeouts_ms: (i32, i32),
        ticket: Option<Ticket>,
        effects: &mut Vec<Effect>,
    ) {
        let superseded = JoinAnswer::refused(id.clone(), GroupError::RebalanceInProgress);
        self.answer_join(id, superseded, effects);
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        (
            member.info.session_timeout_ms,
            member.info.rebalance_timeout_ms,
        ) = timeouts_ms;
        member.awaiting_join = ticket;
        self.awaiting_join += usize::from(ticket.is_some());
        let new = protocols.clone();
        let old = std::mem::replace(&mut member.info.protocols, protocols);
        self.weight.members += protocol_bytes(&new);
        self.weight.members -= protocol_bytes(&old);
        self.discount_protocols(&old);
        self.count_protocols(&new);
    }

    /// Answers the member's parked join, if it has one.
    pub(super) fn answer_join(
        &mut self,
        id: &MemberId,
        answer: JoinAnswer,
        effects: &mut Vec<Effect>,
    ) {
        let parked = self
            .members
            .get_mut(id)
            .and_then(|member| member.awaiting_join.take());
        if let Some(ticket) = parked {
            self.awaiting_join -= 1;
            effects.push(Effect::Joined(ticket, answer));
        }
    }

    /// Answers the member's parked sync, if it has one, and says whether it had.
    pub(super) fn answer_sync(
        &mut self,
        id: &MemberId,
        answer: SyncAnswer,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let parked = self
            .members
            .get_mut(id)
            .and_then(|member| member.awaiting_sync.take());
        if let Some(ticket) = parked {
            effects.push(Effect::Synced(ticket, answer));
        }
        parked.is_some()
    }

    /// Fails unless `id` is a member and, if it names an instance, the one that holds it.
    pub(super) fn check_member(
        &self,
        id: &MemberId,
        instance: Option<&InstanceId>,
    ) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(holder) if holder != id => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) {
            Ok(())
        } else {
            Err(GroupError::UnknownMember)
        }
    }

    /// Whether a member with these protocols may join.
    pub(super) fn supports_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |protocol: &Protocol| {
            self.supported.get(&protocol.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(by_all)
    }

    /// The protocol that most members want of those that all support; of equals the first by name.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let candidates: HashSet<Arc<str>> = self
            .supported
            .iter()
            .filter(|(_, count)| **count == all)
            .map(|(name, _)| name.clone())
            .collect();
        let mut votes: HashMap<&Arc<str>, usize> = HashMap::new();
        for member in self.members.values() {
            if let Some(name) = member.vote(&candidates) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let winner = votes
            .into_iter()
            .max_by(|(a, a_votes), (b, b_votes)| a_votes.cmp(b_votes).then_with(|| b.cmp(a)));
        winner.map(|(name, _)| name.clone())
    }

    /// Makes sure that the leader is one of the members that have joined; false if none has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        let has_joined = |member: &Member| member.awaiting_join.is_some();
        if self.members.get(leader).is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.iter().find(|(_, member)| has_joined(member));
        let Some((id, _)) = joined else {
            return false;
        };
        self.leader = Some(id.clone());
        true
    }

    pub(super) fn all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_joins.is_empty()
    }

    pub(super) fn is_leader(&self, id: &MemberId) -> bool {
        self.leader.as_ref() == Some(id)
    }

    /// The longest time that any member wants a rebalance to wait for it.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self
            .members
            .values()
            .map(|member| member.info.rebalance_timeout_ms);
        i64::from(timeouts.max().unwrap_or(0).max(0))
    }

    /// All members with their metadata for the generation's protocol, as the leader gets them.
    pub(super) fn members_for_leader(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol_name.as_deref();
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.info.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    /// The topics that members of a `consumer` group subscribe to; `None` if that can't be told.
    pub(super) fn compute_subscribed(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type() != Some(CONSUMER_PROTOCOL_TYPE) {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = Some(self.protocol_name.as_deref()?);
        for member in self.members.values() {
            read_topics(&member.metadata(protocol), &mut topics)?;
            if topics.len() > MAX_SUBSCRIBED_TOPICS {
                return None;
            }
        }
        Some(topics)
    }

    /// (Re)starts the member's session timer with its own timeout.
    pub(super) fn restart_session(&mut self, id: &MemberId, now_ms: i64) {
        if let Some(member) = self.members.get(id) {
            let timeout_ms = i64::from(member.info.session_timeout_ms);
            self.timers
                .schedule(TimerKey::Session(id.clone()), now_ms + timeout_ms);
        }
    }

    fn count_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn discount_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }
}

/// The timeouts of a member, in the order in which [`ClassicGroup::update_member`] takes them.
pub(super) fn timeouts_ms(info: &MemberInfo) -> (i32, i32) {
    (info.session_timeout_ms, info.rebalance_timeout_ms)
}
