//! Staying and leaving: Heartbeat, LeaveGroup and the end of a session.

use super::{ClassicGroup, Effect, GroupState, Now};
use crate::group::error::GroupError;
use crate::records::member_ids::{InstanceId, MemberId};

/// A Heartbeat request.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// Who is alive.
    pub member_id: MemberId,
    /// Its static instance, if any.
    pub instance_id: Option<InstanceId>,
    /// The generation it works in.
    pub generation: i32,
}

/// One member of a LeaveGroup request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Empty when an administrator removes an instance by name.
    pub member_id: MemberId,
    /// The static instance, if any.
    pub instance_id: Option<InstanceId>,
}

impl ClassicGroup {
    /// A sign of life. `RebalanceInProgress` counts as one, too: the member should join again.
    pub fn heartbeat(&mut self, request: &HeartbeatRequest, now: Now) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::Gone);
        }
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        self.restart_session(&request.member_id, now.tick_ms);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Removes members at their own (or an administrator's) request. One result for each of
    /// `leaving`, in order, and what is to be done.
    pub fn leave(
        &mut self,
        leaving: &[Leaving],
        now: Now,
    ) -> (Vec<Result<(), GroupError>>, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut results = Vec::with_capacity(leaving.len());
        for who in leaving {
            results.push(self.leave_one(who, &mut effects));
        }
        if results.iter().any(Result::is_ok) {
            match self.state {
                GroupState::Stable | GroupState::CompletingRebalance => {
                    self.prepare_rebalance(now, &mut effects);
                }
                GroupState::PreparingRebalance => self.complete_if_all_joined(now, &mut effects),
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        (results, effects)
    }

    fn leave_one(&mut self, who: &Leaving, effects: &mut Vec<Effect>) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::Gone);
        }
        let id = if who.member_id.is_empty() {
            let holder = who
                .instance_id
                .as_ref()
                .and_then(|name| self.static_members.get(name));
            holder.cloned().ok_or(GroupError::UnknownMember)?
        } else if self.pending_joins.contains(&who.member_id) {
            who.member_id.clone()
        } else {
            self.check_member(&who.member_id, who.instance_id.as_ref())?;
            who.member_id.clone()
        };
        self.remove_member(&id, effects);
        Ok(())
    }

    /// The member's session timer has fired.
    pub(super) fn session_expired(&mut self, id: &MemberId, now: Now, effects: &mut Vec<Effect>) {
        let is_pending = self.pending_joins.contains(id);
        let is_dead = match self.members.get(id) {
            Some(member) => !member.has_satisfied_heartbeat(),
            None => is_pending,
        };
        if !is_dead {
            return;
        }
        self.remove_member(id, effects);
        match self.state {
            GroupState::PreparingRebalance if self.all_members_joined() => {
                self.complete_join(now, effects);
            }
            GroupState::Stable | GroupState::CompletingRebalance if !is_pending => {
                self.prepare_rebalance(now, effects);
            }
            _ => {}
        }
    }
}
