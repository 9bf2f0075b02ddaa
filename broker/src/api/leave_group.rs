//! LeaveGroup (key 13), versions 0–5.
//!
//! Members leave, or an administrator removes them.
//!
//! - Up to v2 one member, whose error is the response's. v3 (KIP-345): several, each with its own
//!   error; a static member may be named by its instance alone. v5 (KIP-800): reasons, for the log.

use std::ops::RangeInclusive;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{ApiKey, LeaveGroupRequest, LeaveGroupResponse};

use super::error::{door_code, group_code};
use super::groups::{group_id, instance_id};
use super::{Api, Context, Reply, ResponseOf};
use crate::access::Operation;
use crate::group::GroupError;
use crate::group::classic::Leaving;

pub struct LeaveGroup;

impl Api for LeaveGroup {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    type Request = LeaveGroupRequest;

    fn handle(ctx: &Context, version: i16, request: Self::Request) -> Reply<ResponseOf<Self>> {
        let group = group_id(&request.group_id);
        let members = match version {
            ..3 => vec![MemberIdentity::default().with_member_id(request.member_id)],
            _ => request.members,
        };
        for member in &members {
            let (id, instance, reason) =
                (&member.member_id, &member.group_instance_id, &member.reason);
            tracing::debug!(group = group.as_str(), member = %id, ?instance, ?reason, "leaves");
        }
        let leaving: Vec<Leaving> = members.iter().map(leaving).collect();
        let groups = match ctx.group(&group, Operation::Read) {
            Ok(groups) => groups,
            Err(error) => {
                let code = door_code(error).0;
                return Reply::Now(LeaveGroupResponse::default().with_error_code(code));
            }
        };
        let left = groups.leave(&group, &leaving);
        Reply::Later(Box::pin(async move {
            match left.await {
                Ok(results) => response(version, members, results.into_iter().map(code)),
                Err(error) => LeaveGroupResponse::default().with_error_code(group_code(error).0),
            }
        }))
    }
}

fn code(result: Result<(), GroupError>) -> i16 {
    result.map_or_else(|error| group_code(error).0, |()| 0)
}

fn response(
    version: i16,
    members: Vec<MemberIdentity>,
    mut codes: impl Iterator<Item = i16>,
) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    if version < 3 {
        return response.with_error_code(codes.next().unwrap_or(0));
    }
    let left = members.into_iter().zip(codes).map(|(member, code)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code)
    });
    response.with_members(left.collect())
}

fn leaving(member: &MemberIdentity) -> Leaving {
    Leaving {
        member_id: member.member_id.as_str().into(),
        instance_id: instance_id(member.group_instance_id.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::assert_encodes;
    use super::*;

    #[test]
    fn every_version_can_be_answered() {
        assert_encodes::<LeaveGroup>(LeaveGroup::VERSIONS, |version| {
            let member = MemberIdentity::default().with_group_instance_id(Some("i".into()));
            response(version, vec![member], [25].into_iter())
        });
        let one = response(2, vec![MemberIdentity::default()], [25].into_iter());
        assert_eq!((one.error_code, one.members.len()), (25, 0));
    }
}
