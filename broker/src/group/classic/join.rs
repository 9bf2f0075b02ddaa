//! JoinGroup: `GroupMetadataManager.classicGroupJoinToClassicGroup` and what it calls.

use super::member::{Member, unique_protocols};
use super::membership::timeouts_ms;
use super::{
    ClassicGroup, Effect, GroupState, JoinAnswer, JoinRequest, JoinWait, Now, StaticReturn,
    StoreStep, Ticket, TimerKey,
};
use crate::group::error::GroupError;
use crate::group::limits::{MAX_PENDING_MEMBERS, NEW_MEMBER_JOIN_TIMEOUT_MS};
use crate::records::member_ids::{InstanceId, MemberId};

impl ClassicGroup {
    pub(super) fn join(
        &mut self,
        mut request: JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        request.info.protocols = unique_protocols(std::mem::take(&mut request.info.protocols));
        if let Err(error) = self.may_join(&request) {
            let nobody = error == GroupError::GroupFull || request.member_id.is_empty();
            if error == GroupError::GroupFull {
                self.remove_member(&request.member_id, effects);
                // It may have been the last one that the others have waited for.
                self.complete_if_all_joined(now, effects);
            }
            let id = if nobody {
                MemberId::default()
            } else {
                request.member_id
            };
            effects.push(Effect::Joined(ticket, JoinAnswer::refused(id, error)));
        } else if request.member_id.is_empty() {
            self.join_new(request, ticket, now, effects);
        } else if self.pending_joins.contains(&request.member_id) {
            let id = request.member_id.clone();
            self.add_and_rebalance(id, request, ticket, now, effects);
        } else {
            self.rejoin(request, ticket, now, effects);
        }
    }

    /// What holds for every join: the group lives, has room, and shares a protocol.
    fn may_join(&self, request: &JoinRequest) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::Gone);
        }
        if !self.has_room_for(&request.member_id) {
            return Err(GroupError::GroupFull);
        }
        if !self.supports_protocols(&request.protocol_type, &request.info.protocols) {
            return Err(GroupError::InconsistentProtocol);
        }
        self.check_metadata(request)?;
        if request.member_id.is_empty() {
            return Ok(());
        }
        if self.pending_joins.contains(&request.member_id) {
            // An id is pending only for a dynamic member: one that names an instance is confused.
            let dynamic = request.info.instance_id.is_none();
            return if dynamic {
                Ok(())
            } else {
                Err(GroupError::UnknownMember)
            };
        }
        self.check_member(&request.member_id, request.info.instance_id.as_ref())
    }

    /// `group.max.size`. While members rejoin, those who have joined count, so that a group over a
    /// lowered limit shrinks by its last ones.
    fn has_room_for(&self, id: &MemberId) -> bool {
        let max_size = self.max_size();
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let waits = |member: &Member| member.awaiting_join.is_some();
                self.members.get(id).is_some_and(waits) || self.awaiting_join < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(id) || self.members.len() < max_size
            }
        }
    }

    fn join_new(
        &mut self,
        request: JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let id = request.fresh_member_id.clone();
        let held_by = |instance: &InstanceId| {
            let holder = self.static_members.get(instance).cloned();
            holder.map(|holder| (instance.clone(), holder))
        };
        if let Some((instance, old)) = request.info.instance_id.as_ref().and_then(held_by) {
            self.return_static(instance, old, request, ticket, now, effects);
        } else if request.info.instance_id.is_none() && request.member_id_required {
            let error = self.expect_member(&id, request.info.session_timeout_ms, now);
            effects.push(Effect::Joined(ticket, error));
        } else {
            self.add_and_rebalance(id, request, ticket, now, effects);
        }
    }

    /// Gives out an id; the member has its session timeout to come back with it.
    fn expect_member(&mut self, id: &MemberId, session_timeout_ms: i32, now: Now) -> JoinAnswer {
        if self.pending_joins.len() >= MAX_PENDING_MEMBERS {
            return JoinAnswer::refused(MemberId::default(), GroupError::GroupFull);
        }
        self.add_pending(id);
        let deadline_ms = now.tick_ms + i64::from(session_timeout_ms);
        self.timers
            .schedule(TimerKey::Session(id.clone()), deadline_ms);
        JoinAnswer::refused(id.clone(), GroupError::MemberIdRequired)
    }

    fn add_and_rebalance(
        &mut self,
        id: MemberId,
        request: JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if self.state == GroupState::PreparingRebalance
            && let JoinWait::Initial { member_added, .. } = &mut self.join_wait
        {
            *member_added = true;
        }
        let mut member = Member::new(request.info);
        member.is_new = true;
        member.awaiting_join = Some(ticket);
        self.add_member(id.clone(), &request.protocol_type, member);
        // A client that abandoned this join knows no id, and will join again as a new member: the
        // member it left behind must not hold up rebalances for ever.
        let patience_ms = NEW_MEMBER_JOIN_TIMEOUT_MS;
        self.timers
            .schedule(TimerKey::Session(id), now.tick_ms + patience_ms);
        self.rebalance_or_complete(now, effects);
    }

    /// A member that is in the group joins again.
    fn rejoin(
        &mut self,
        request: JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let id = &request.member_id;
        let same = self
            .members
            .get(id)
            .is_some_and(|member| member.info.protocols == request.info.protocols);
        // A leader that joins again wants a new assignment; a follower with nothing new, or any
        // member that missed the answer to its join, gets the present generation.
        let rebalances = match self.state {
            GroupState::PreparingRebalance => true,
            GroupState::CompletingRebalance => !same,
            GroupState::Stable => !same || self.is_leader(id),
            GroupState::Empty | GroupState::Dead => {
                let refused = JoinAnswer::refused(id.clone(), GroupError::UnknownMember);
                effects.push(Effect::Joined(ticket, refused));
                return;
            }
        };
        if rebalances {
            let timeouts = timeouts_ms(&request.info);
            self.update_member(id, request.info.protocols, timeouts, Some(ticket), effects);
            self.rebalance_or_complete(now, effects);
        } else {
            effects.push(Effect::Joined(ticket, self.joined_answer(id)));
        }
    }

    /// A static member comes back without its member id: it takes its place over under a new one.
    fn return_static(
        &mut self,
        instance: InstanceId,
        old: MemberId,
        request: JoinRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let new = request.fresh_member_id.clone();
        let Some(old_info) = self.members.get(&old).map(|member| member.info.clone()) else {
            return;
        };
        let undo = StaticReturn {
            instance_id: instance.clone(),
            old_member_id: old.clone(),
            new_member_id: new.clone(),
            old_info,
            old_leader: self.leader.clone().unwrap_or_default(),
            may_skip_assignment: request.may_skip_assignment,
        };
        self.replace_static_member(&instance, &old, &new, effects);
        let timeouts = timeouts_ms(&request.info);
        self.update_member(
            &new,
            request.info.protocols,
            timeouts,
            Some(ticket),
            effects,
        );
        self.restart_session(&new, now.tick_ms);
        match self.state {
            // Nothing changes for the others: no rebalance, but the new id must be on disk.
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                let record = Box::new(self.record(None));
                effects.push(Effect::Store(
                    record,
                    StoreStep::StaticMember(Box::new(undo)),
                ));
            }
            // The leader may be computing an assignment for the old id.
            GroupState::CompletingRebalance => self.prepare_rebalance(now, effects),
            _ => self.rebalance_or_complete(now, effects),
        }
    }

    /// The answer that describes the present generation to a member.
    pub(super) fn joined_answer(&self, id: &MemberId) -> JoinAnswer {
        let leads = self.is_leader(id);
        JoinAnswer {
            error: None,
            member_id: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            members: if leads {
                self.members_for_leader()
            } else {
                Vec::new()
            },
            skip_assignment: false,
        }
    }

    /// The end of [`Self::return_static`] in a stable group.
    pub(super) fn static_return_stored(
        &mut self,
        undo: StaticReturn,
        result: Result<(), GroupError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let id = &undo.new_member_id;
        // A rebalance that began meanwhile answers the join when it ends.
        let waits = self
            .members
            .get(id)
            .is_some_and(|member| member.awaiting_join.is_some());
        if self.state != GroupState::Stable || !waits {
            return;
        }
        // A session that ended while the join was parked had no consequence: restart it.
        self.restart_session(id, now.tick_ms);
        let mut answer = self.joined_answer(id);
        match result {
            Ok(()) if undo.may_skip_assignment => {
                answer.skip_assignment = self.is_leader(id);
                self.answer_join(id, answer, effects);
            }
            Ok(()) => {
                // Below version 9 it must not compute an assignment: it is not told that it leads.
                answer.leader = undo.old_leader;
                answer.members = Vec::new();
                self.answer_join(id, answer, effects);
            }
            Err(error) => {
                let refused = JoinAnswer::refused(MemberId::default(), error);
                self.answer_join(id, refused, effects);
                let (timeouts, protocols) = (timeouts_ms(&undo.old_info), undo.old_info.protocols);
                self.update_member(id, protocols, timeouts, None, effects);
                let old = &undo.old_member_id;
                self.replace_static_member(&undo.instance_id, id, old, effects);
                self.restart_session(old, now.tick_ms);
            }
        }
    }
}
