//! SyncGroup: `classicGroupSyncToClassicGroup`, and how the leader's assignment reaches members.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    ClassicGroup, Effect, GroupState, Now, StoreStep, SyncAnswer, SyncRequest, Synced, Ticket,
    TimerKey,
};
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

impl ClassicGroup {
    pub(super) fn sync(
        &mut self,
        request: SyncRequest,
        ticket: Ticket,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.check_sync(&request) {
            effects.push(Effect::Synced(ticket, Err(error)));
            return;
        }
        let id = &request.member_id;
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            self.timers.cancel(&TimerKey::Sync);
        }
        if self.state == GroupState::Stable {
            effects.push(Effect::Synced(ticket, self.synced_answer(id)));
            return;
        }
        self.answer_sync(id, Err(GroupError::RebalanceInProgress), effects);
        if let Some(member) = self.members.get_mut(id) {
            member.awaiting_sync = Some(ticket);
        }
        if self.is_leader(id) {
            self.take_assignment(request, now, effects);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), GroupError> {
        let differs =
            |given: &Option<_>, own: &Option<_>| given.is_some() && own.is_some() && given != own;
        match self.state {
            GroupState::Dead => return Err(GroupError::Gone),
            GroupState::Empty => return Err(GroupError::UnknownMember),
            _ => {}
        }
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        if self.state == GroupState::PreparingRebalance {
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// The leader's sync: its assignment is stored first, and sent to the members afterwards.
    fn take_assignment(&mut self, request: SyncRequest, now: Now, effects: &mut Vec<Effect>) {
        let mut given: BTreeMap<MemberId, Bytes> = request.assignments.into_iter().collect();
        given.retain(|id, _| self.members.contains_key(id));
        let record = self.record(Some(&given));
        let step = StoreStep::Assignment {
            generation: self.generation,
            assignments: given,
        };
        let size_bytes = record.size_bytes();
        if size_bytes > self.config.max_metadata_bytes {
            self.stored(step, Err(GroupError::RecordTooLarge), now, effects);
        } else {
            effects.push(Effect::Store(Box::new(record), step));
        }
    }

    pub(super) fn stored(
        &mut self,
        step: StoreStep,
        result: Result<(), GroupError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match step {
            StoreStep::Empty => {}
            StoreStep::StaticMember(undo) => {
                self.static_return_stored(*undo, result, now, effects);
            }
            StoreStep::Assignment {
                generation,
                assignments,
            } => {
                // A member may have joined or left in the meantime: then the next generation is
                // already in progress.
                let current = generation == self.generation;
                if self.state == GroupState::CompletingRebalance && current {
                    self.assignment_stored(assignments, result, now, effects);
                }
            }
        }
    }

    fn assignment_stored(
        &mut self,
        assignments: BTreeMap<MemberId, Bytes>,
        result: Result<(), GroupError>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = result {
            self.refuse_syncs(error, now, effects);
            self.rebalance_or_complete(now, effects);
            return;
        }
        self.assign(assignments);
        self.transition(GroupState::Stable, now);
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let answer = self.synced_answer(id);
            // A session that ended while the sync was parked had no consequence: restart it.
            if self.answer_sync(id, answer, effects) {
                self.restart_session(id, now.tick_ms);
            }
        }
    }

    /// Ends a sync phase without an assignment.
    pub(super) fn refuse_syncs(&mut self, error: GroupError, now: Now, effects: &mut Vec<Effect>) {
        self.unassign();
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            if self.answer_sync(id, Err(error), effects) {
                self.restart_session(id, now.tick_ms);
            }
        }
    }

    fn synced_answer(&self, id: &MemberId) -> SyncAnswer {
        let assignment = self.members.get(id).map(|member| member.assignment.clone());
        Ok(Synced {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: assignment.unwrap_or_default(),
        })
    }
}
