//! The approximate memory of a group, and the limit on its members' subscriptions and assignments.
//!
//! Invariant: the sums agree with the members at all times; `membership` changes both together.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::member::Member;
use super::{ClassicGroup, JoinRequest, MemberInfo, Protocol};
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

/// What a member takes in addition to its texts: maps, timers, the requests that it has parked.
const MEMBER_BYTES: usize = 1_024;

/// What a protocol takes in addition to its name and metadata.
const PROTOCOL_BYTES: usize = 64;

/// What an issued id that has not joined yet takes, in addition to its text.
const PENDING_BYTES: usize = 256;

/// Memory that a group takes, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// What the members say of themselves.
    pub members: usize,
    pub pending: usize,
    /// What the members are assigned.
    pub assigned: usize,
}

/// About what a member takes in memory that says this of itself.
pub(super) fn member_bytes(info: &MemberInfo) -> usize {
    let instance = info.instance_id.as_ref().map_or(0, |id| id.as_str().len());
    // Once for itself, once as a part of the member's id.
    let names = 2 * (instance + info.client_id.len()) + info.client_host.len();
    MEMBER_BYTES + names + protocol_bytes(&info.protocols)
}

pub(super) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    let bytes =
        |protocol: &Protocol| PROTOCOL_BYTES + protocol.name.len() + protocol.metadata.len();
    protocols.iter().map(bytes).sum()
}

/// The approximate memory of an issued id.
pub(super) fn pending_bytes(id: &MemberId) -> usize {
    PENDING_BYTES + 2 * id.as_str().len()
}

impl ClassicGroup {
    /// About how many bytes the group takes in memory.
    pub fn held_bytes(&self) -> usize {
        self.weight.members + self.weight.pending + self.weight.assigned
    }

    /// By how many bytes the group would grow with this join.
    pub fn join_growth_bytes(&self, request: &JoinRequest) -> usize {
        member_bytes(&request.info).saturating_sub(self.known_bytes(request))
    }

    /// By how many bytes the group would grow with these assignments.
    pub fn sync_growth_bytes(&self, assignments: &[(MemberId, Bytes)]) -> usize {
        let given: usize = assignments.iter().map(|(_, bytes)| bytes.len()).sum();
        given.saturating_sub(self.weight.assigned)
    }

    /// `group.max.metadata.bytes`.
    pub(super) fn check_metadata(&self, request: &JoinRequest) -> Result<(), GroupError> {
        let members = self.weight.members - self.known_bytes(request);
        if members + member_bytes(&request.info) > self.config.max_metadata_bytes {
            return Err(GroupError::RecordTooLarge);
        }
        Ok(())
    }

    /// What the member takes now that asks to join, if it is in the group.
    fn known_bytes(&self, request: &JoinRequest) -> usize {
        let by_instance = |instance| self.static_members.get(instance);
        let id = match &request.info.instance_id {
            Some(instance) if request.member_id.is_empty() => by_instance(instance),
            _ => Some(&request.member_id),
        };
        let member = id.and_then(|id| self.members.get(id));
        member.map_or(0, |member| member_bytes(&member.info))
    }

    /// Gives each member its part; a member without one gets an empty part.
    pub(super) fn assign(&mut self, mut assignments: BTreeMap<MemberId, Bytes>) {
        self.weight.assigned = 0;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
            self.weight.assigned += member.assignment.len();
        }
    }

    /// Takes all assignments back.
    pub(super) fn unassign(&mut self) {
        self.assign(BTreeMap::new());
    }

    #[cfg(test)]
    pub(super) fn counted_weight(&self) -> Weight {
        let members = self.members.values();
        Weight {
            members: members
                .clone()
                .map(|member| member_bytes(&member.info))
                .sum(),
            pending: self.pending_joins.iter().map(pending_bytes).sum(),
            assigned: members.map(|member| member.assignment.len()).sum(),
        }
    }

    /// The weight as it is kept.
    #[cfg(test)]
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    pub(super) fn weigh_in(&mut self, member: &Member) {
        self.weight.members += member_bytes(&member.info);
        self.weight.assigned += member.assignment.len();
    }

    pub(super) fn weigh_out(&mut self, member: &Member) {
        let (bytes, assigned) = (member_bytes(&member.info), member.assignment.len());
        assert!(
            bytes <= self.weight.members && assigned <= self.weight.assigned,
            "a member weighs no more than all"
        );
        self.weight.members -= bytes;
        self.weight.assigned -= assigned;
    }
}
