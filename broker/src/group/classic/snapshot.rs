//! A group as it is stored and as it is described.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::member::Member;
use super::{ClassicGroup, GroupState, MemberInfo, Now, Protocol};
use crate::group::config::GroupConfig;
pub use crate::records::group::{GroupRecord, MemberRecord};
use crate::records::member_ids::{InstanceId, MemberId};

impl GroupRecord {
    /// About how many bytes the record takes.
    pub fn size_bytes(&self) -> usize {
        const FIXED_BYTES: usize = 64;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let member = |member: &MemberRecord| {
            FIXED_BYTES
                + member.member_id.len()
                + text(&member.instance_id)
                + member.client_id.len()
                + member.client_host.len()
                + member.subscription.len()
                + member.assignment.len()
        };
        FIXED_BYTES
            + text(&self.protocol_type)
            + text(&self.protocol_name)
            + text(&self.leader)
            + self.members.iter().map(member).sum::<usize>()
    }
}

/// A member for DescribeGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: MemberId,
    /// Its static instance, if any.
    pub instance_id: Option<InstanceId>,
    /// The client id it joined with.
    pub client_id: Arc<str>,
    /// The address it joined from.
    pub client_host: Arc<str>,
    /// Its metadata, while the group is stable.
    pub metadata: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// The group in the form in which it is stored, with `assignments` instead of the members'
    /// present ones if given (members that it leaves out get an empty one).
    pub(super) fn record(&self, assignments: Option<&BTreeMap<MemberId, Bytes>>) -> GroupRecord {
        let protocol = self.protocol_name.as_deref();
        let member = |(id, member): (&MemberId, &Member)| MemberRecord {
            member_id: id.to_string(),
            instance_id: member.info.instance_id.as_ref().map(InstanceId::to_string),
            client_id: member.info.client_id.to_string(),
            client_host: member.info.client_host.to_string(),
            session_timeout_ms: member.info.session_timeout_ms,
            rebalance_timeout_ms: member.info.rebalance_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: match assignments {
                Some(given) => given.get(id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            },
        };
        GroupRecord {
            protocol_type: self.protocol_type.as_deref().map(str::to_owned),
            generation: self.generation,
            protocol_name: protocol.map(str::to_owned),
            leader: self.leader.as_ref().map(MemberId::to_string),
            state_since_ms: self.state_since_ms,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The group of a record, after a restart: stable if it has members, each with a full session
    /// timeout. A group over a lowered `group.max.size` begins a rebalance.
    pub fn restore(config: Arc<GroupConfig>, record: GroupRecord, now: Now) -> Self {
        let mut group = Self::new(config, now);
        group.generation = record.generation;
        group.protocol_type = record
            .protocol_type
            .filter(|name| !name.is_empty())
            .map(Arc::from);
        group.protocol_name = record.protocol_name.map(Arc::from);
        group.state_since_ms = record.state_since_ms;
        let protocol_type = group.protocol_type.clone().unwrap_or_else(|| Arc::from(""));
        let protocol_name = group.protocol_name.clone().unwrap_or_else(|| Arc::from(""));
        for stored in record.members {
            let id = MemberId::from(stored.member_id);
            let mut member = Member::new(MemberInfo {
                instance_id: stored.instance_id.map(InstanceId::from),
                client_id: stored.client_id.into(),
                client_host: stored.client_host.into(),
                session_timeout_ms: stored.session_timeout_ms,
                rebalance_timeout_ms: stored.rebalance_timeout_ms,
                protocols: vec![Protocol {
                    name: protocol_name.clone(),
                    metadata: stored.subscription,
                }],
            });
            member.assignment = stored.assignment;
            if !group.members.contains_key(&id) {
                group.add_member(id.clone(), &protocol_type, member);
                group.restart_session(&id, now.tick_ms);
            }
        }
        let leader = record.leader.map(MemberId::from);
        if let Some(leader) = leader.filter(|leader| group.members.contains_key(leader)) {
            group.leader = Some(leader);
        }
        group.subscribed = group.compute_subscribed();
        if !group.members.is_empty() {
            group.state = GroupState::Stable;
        }
        if group.members.len() > group.max_size() {
            group.prepare_rebalance(now, &mut Vec::new());
        }
        group
    }

    /// All members. Their metadata is shown while the group is stable, as in Kafka.
    pub fn describe_members(&self) -> Vec<DescribedMember> {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol_name.as_deref().filter(|_| stable);
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.info.instance_id.clone(),
            client_id: member.info.client_id.clone(),
            client_host: member.info.client_host.clone(),
            metadata: member.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        members.collect()
    }

    /// The generation's protocol, while the group is stable.
    pub fn described_protocol(&self) -> Option<&str> {
        let stable = self.state == GroupState::Stable;
        self.protocol_name.as_deref().filter(|_| stable)
    }
}
