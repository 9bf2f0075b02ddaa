//! The approximate memory of a group, and the limit on its members' subscriptions and assignments.
//!
//! Invariant: `members_bytes` is the sum over the members; `membership` changes both together.

use super::{ConsumerGroup, Epochs, HeartbeatRequest, Member};
use crate::group::classic::{JoinRequest, Protocol};
use crate::group::error::GroupError;
use crate::records::member_ids::MemberId;

/// What a member takes in addition to its texts and partitions: maps, timers, its target.
const MEMBER_BYTES: usize = 1_024;

/// What a text takes in addition to its length, and what an assigned partition takes: in the
/// member, in its target, and with its owner.
const ENTRY_BYTES: usize = 64;

/// About what a member takes in memory.
pub(super) fn member_bytes(member: &Member) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let instance = member
        .instance_id
        .as_ref()
        .map_or(0, |id| id.as_str().len());
    let partitions = |epochs: &Epochs| {
        epochs
            .values()
            .map(|at| at.len() * ENTRY_BYTES)
            .sum::<usize>()
    };
    let protocols = member
        .classic
        .as_ref()
        .map_or(&[][..], |classic| &classic.protocols);
    MEMBER_BYTES
        + 2 * instance
        + text(&member.rack_id)
        + text(&member.assignor)
        + member.client_id.len()
        + member.client_host.len()
        + member.regex.len()
        + texts_bytes(&member.topics)
        + protocols_bytes(protocols)
        + partitions(&member.assigned)
        + partitions(&member.revoking)
}

/// About what an expression takes with the topics that match.
pub(super) fn subscription_bytes(text: &str, topics: usize) -> usize {
    ENTRY_BYTES + text.len() + topics * ENTRY_BYTES
}

fn texts_bytes<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| ENTRY_BYTES + text.len()).sum()
}

fn protocols_bytes(protocols: &[Protocol]) -> usize {
    let bytes = |one: &Protocol| ENTRY_BYTES + one.name.len() + one.metadata.len();
    protocols.iter().map(bytes).sum()
}

impl ConsumerGroup {
    /// About how many bytes the group takes in memory.
    pub fn held_bytes(&self) -> usize {
        self.members_bytes + self.regexes.held_bytes()
    }

    /// By how many bytes the group would grow with what the heartbeat says, assignment aside.
    pub fn heartbeat_growth_bytes(&self, request: &HeartbeatRequest) -> usize {
        let known = self.members.get(&request.member_id);
        let topics = match &request.topics {
            Some(topics) => {
                let before = known.map_or(0, |member| texts_bytes(&member.topics));
                texts_bytes(topics).saturating_sub(before)
            }
            None => 0,
        };
        let regex = request.regex.as_ref().map_or(0, String::len);
        match known {
            Some(member) => topics + regex.saturating_sub(member.regex.len()),
            None => MEMBER_BYTES + topics + regex,
        }
    }

    /// By how many bytes the group would grow with this join of a classic member.
    pub fn join_growth_bytes(&self, request: &JoinRequest) -> usize {
        let said = MEMBER_BYTES + protocols_bytes(&request.info.protocols);
        let known = self.members.get(&request.member_id).map_or(0, member_bytes);
        said.saturating_sub(known)
    }

    /// `group.max.metadata.bytes`.
    pub(super) fn check_metadata(&self, id: &MemberId, growth: usize) -> Result<(), GroupError> {
        let leaves = self.members_bytes.saturating_add(growth);
        // A member that does not grow may continue, even if the limit was lowered.
        if growth > 0 && leaves > self.config.max_metadata_bytes {
            tracing::debug!(member = id.as_str(), "a group's members say too much");
            return Err(GroupError::RecordTooLarge);
        }
        Ok(())
    }
}
