//! DescribeGroups (key 15), versions 0–6.
//!
//! - Members' metadata and the protocol are shown while the group is stable, as in Kafka.
//! - A group that is requested twice is answered once: a short request must not get an unbounded
//!   answer.
//! - v3 (KIP-430): authorized operations, if requested. v4 (KIP-345): static members.
//! - v6 (KIP-1043): a group that doesn't exist is GROUP_ID_NOT_FOUND; before, it is a dead group.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use carrick_protocol::error_code::ErrorCode;
use carrick_protocol::ids::GroupId;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{ApiKey, DescribeGroupsRequest, DescribeGroupsResponse};

use super::admin::Refusal;
use super::error::group_code;
use super::groups::{group_id, text, wire_group_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::{Operation, Resource};
use crate::group::classic::{DescribedMember, GroupState};
use crate::group::{GroupError, coordinator};

pub struct DescribeGroups;

impl Api for DescribeGroups {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    const LISTS: bool = true;
    type Request = DescribeGroupsRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let with_operations = version >= 3 && request.include_authorized_operations;
        let describe = |name| {
            let group = group_id(name);
            let describe = || {
                let groups = match ctx.group(&group, Operation::Describe) {
                    Ok(groups) => groups,
                    Err(error) => return refused(version, &group, &error.into()),
                };
                let mut described = match groups.describe(&group) {
                    Ok(found) => found_group(&group, found),
                    Err(error) => missing_group(version, &group, error),
                };
                if with_operations && described.error_code == 0 {
                    let operations = ctx.operations(Resource::Group(group.as_str()));
                    described.authorized_operations = operations;
                }
                described
            };
            ctx.room.item(version, describe, |refusal| {
                refused(version, &group, &refusal)
            })
        };
        let mut seen = HashSet::new();
        let asked = request.groups.iter().filter(|name| seen.insert(*name));
        let groups = asked.map(describe).collect();
        Reply::Now(DescribeGroupsResponse::default().with_groups(groups))
    }
}

fn found_group(group: &GroupId, found: coordinator::DescribedGroup) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(wire_group_id(group))
        .with_group_state(text(found.state.name()))
        .with_protocol_type(text(&found.protocol_type))
        .with_protocol_data(text(&found.protocol))
        .with_members(found.members.into_iter().map(member).collect())
}

fn refused(version: i16, group: &GroupId, refusal: &Refusal) -> DescribedGroup {
    let described = DescribedGroup::default()
        .with_group_id(wire_group_id(group))
        .with_error_code(refusal.code.0);
    match version {
        6.. => described.with_error_message(refusal.wire_message()),
        _ => described,
    }
}

fn missing_group(version: i16, group: &GroupId, error: GroupError) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(wire_group_id(group));
    let name = group.as_str();
    let message = match error {
        GroupError::GroupNotFound => format!("Group {name} not found."),
        GroupError::NotClassicGroup => format!("Group {name} is not a classic group."),
        other => return described.with_error_code(group_code(other).0),
    };
    let dead = described.with_group_state(text(GroupState::Dead.name()));
    if version < 6 {
        return dead;
    }
    dead.with_error_code(ErrorCode::GROUP_ID_NOT_FOUND.0)
        .with_error_message(Some(text(&message)))
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(member.member_id.as_str()))
        .with_group_instance_id(member.instance_id.map(|instance| text(instance.as_str())))
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        let group = GroupId::new("g");
        let found = coordinator::DescribedGroup {
            state: GroupState::Stable,
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members: vec![DescribedMember {
                member_id: "m".into(),
                instance_id: Some("i".into()),
                client_id: "client".into(),
                client_host: "/127.0.0.1".into(),
                metadata: Default::default(),
                assignment: Default::default(),
            }],
        };
        assert_encodes::<DescribeGroups>(DescribeGroups::VERSIONS, |version| {
            let missing = missing_group(version, &group, GroupError::GroupNotFound);
            let groups = vec![found_group(&group, found.clone()), missing];
            DescribeGroupsResponse::default().with_groups(groups)
        });
        let old = missing_group(5, &group, GroupError::GroupNotFound);
        assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));
        let new = missing_group(6, &group, GroupError::GroupNotFound);
        assert_eq!(new.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    }
}
