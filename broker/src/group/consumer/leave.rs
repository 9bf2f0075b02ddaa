//! Leaving, and removal of members: `consumerGroupLeave`, `consumerGroupFenceMembers`.

use std::collections::BTreeSet;

use super::{ConsumerGroup, Env, HeartbeatAnswer, HeartbeatRequest, STATIC_LEAVE_EPOCH};
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

impl ConsumerGroup {
    pub(super) fn leave(
        &mut self,
        request: &HeartbeatRequest,
        env: &Env<'_>,
    ) -> Result<HeartbeatAnswer, GroupError> {
        let id = &request.member_id;
        self.check_member(id, request.instance_id.as_ref())?;
        if request.member_epoch == STATIC_LEAVE_EPOCH && request.instance_id.is_some() {
            self.go_away(id);
        } else {
            self.fence(&BTreeSet::from([id.clone()]), env);
        }
        Ok(HeartbeatAnswer {
            member_id: id.clone(),
            member_epoch: request.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        })
    }

    /// A static member leaves for a while: it keeps its partitions, until its session ends. They
    /// count as given in epoch 0, so that its next id may commit for them immediately.
    fn go_away(&mut self, id: &MemberId) {
        let Some(mut member) = self.members.get(id).cloned() else {
            return;
        };
        member.member_epoch = STATIC_LEAVE_EPOCH;
        member.revoking.clear();
        let partitions = member.assigned.values_mut();
        partitions
            .flat_map(|epochs| epochs.values_mut())
            .for_each(|epoch| *epoch = 0);
        self.put_member(id, member);
    }

    /// Puts members out. If only members of the classic protocol are left, the group becomes a
    /// classic one, if it may.
    pub(super) fn fence(&mut self, ids: &BTreeSet<MemberId>, env: &Env<'_>) {
        if ids.is_empty() {
            return;
        }
        if self.may_downgrade_without(ids) {
            self.downgrade(ids, true, env);
            return;
        }
        for id in ids {
            self.take_member(id);
        }
        self.refresh_epoch(true, env);
    }
}
